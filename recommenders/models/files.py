"""A model's folder: arrays as safetensors, the rest as JSON.

There is no pickle in it, so that a folder from somebody else can be read safely.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recommenders.models.errors import ModelError
from services.common.files import atomic_folder, is_occupied, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

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
    """Writes a model's folder atomically; its parent folders are made.

    Args:
        folder: The folder to write.
        info: JSON values, such as the name and configuration of the model.
        arrays: Arrays of any shape and type that safetensors supports.
        replace: Whether to replace a model's folder that exists.

    Raises:
        ModelError: The folder is not empty, and is not to be replaced or holds no model.
    """
    if is_occupied(folder) and not (replace and (folder / INFO).is_file()):
        raise ModelError(f"{folder} is not empty; choose another folder")
    with atomic_folder(folder, replace=replace) as new:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, new / ARRAYS
        )
        write_json(new / INFO, info)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads a folder that `write_folder` wrote.

    Raises:
        ModelError: A file is missing or damaged.
    """
    try:
        info = json.loads((folder / INFO).read_bytes())
        arrays = load_file(folder / ARRAYS)
    except FileNotFoundError as error:
        raise ModelError(
            f"{error.filename or folder} is missing; this is not a model's folder"
        ) from error
    except (ValueError, OSError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be read: {error}") from error
    if not isinstance(info, dict):
        raise ModelError(f"{folder / INFO} is not a JSON object")
    return info, arrays


@contextlib.contextmanager
def opened(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """Gives what `read_folder` reads, and turns what its parts lack into an error that names the folder.

    Args:
        folder: A model's folder.
        name: The model's name in the registry.

    Raises:
        ModelError: A file is missing or damaged; the folder holds another model; or the body has
            found that a part is missing or does not fit (KeyError, ValueError, TypeError,
            RuntimeError of torch).
    """
    info, arrays = read_folder(folder)
    if info.get("name") != name:
        raise ModelError(f"{folder} holds {info.get('name')!r}, not {name!r}")
    try:
        yield info, arrays
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{folder} does not hold a whole {name}: {error}") from error
