"""A model's folder: arrays as safetensors, the rest as JSON; never pickle, so that it can be shared.

Written under another name and renamed, so that a folder with the right name is whole.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ARRAYS = "model.safetensors"
INFO = "model.json"


def write_folder(
    folder: Path,
    info: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    replace: bool = False,
) -> None:
    """Writes a model's folder, whole or not at all; folders above it are made.

    Args:
        folder: Where.
        info: What JSON can hold, such as the name and configuration of the model.
        arrays: Of any shape and type that safetensors knows.
        replace: Put it in the place of such a folder that is there already.

    Raises:
        ModelError: Something is there that is not to be replaced.
    """
    occupied = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if occupied and not (replace and (folder / INFO).is_file()):
        raise ModelError(f"{folder} is not empty; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, new / ARRAYS
        )
        (new / INFO).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
        if occupied:
            folder.rename(Path(scratch, "old"))
        new.rename(folder)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads what `write_folder` wrote.

    Raises:
        ModelError: A file is missing or damaged.
    """
    try:
        info = json.loads((folder / INFO).read_bytes())
        arrays = load_file(folder / ARRAYS)
    except FileNotFoundError as error:
        raise ModelError(
            f"{error.filename or folder} is missing; this is no model's folder"
        ) from error
    except (ValueError, OSError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be read: {error}") from error
    if not isinstance(info, dict):
        raise ModelError(f"{folder / INFO} is not a JSON object")
    return info, arrays
