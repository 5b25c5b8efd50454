"""Folders that appear whole or not at all, and what stands for their content. Standard library only.

The hash and the manifest of a merged model are those of the service's assets: the service reads a
merged model as it reads a fetched one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST = "manifest.json"
_HASH_CHARACTERS = 12


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder that becomes `target` when the block ends well.

    Raises:
        TrainingError: There is something at `target` already.
    """
    if target.exists():
        raise TrainingError(f"{target} is there already; choose another name or delete it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        folder = Path(scratch, target.name)
        folder.mkdir()
        yield folder
        folder.replace(target)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a JSON file that appears whole or not at all."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def sha256_of(path: Path) -> str:
    """Returns the hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns sha256 and size of every file of a folder but its manifest, by POSIX path."""
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_of(path),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def content_hash(folder: Path) -> str:
    """Returns 12 hex digits that stand for a folder's content, by its manifest if it has one.

    Raises:
        TrainingError: There is no such folder, or its manifest is damaged.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder} is not a folder")
    path = folder / MANIFEST
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"] if path.is_file() else None
        entries = listing(folder) if files is None else files
        hashes = {name: str(entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged: {error!r}") from error
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name}\0{hashes[name]}\n".encode())
    return digest.hexdigest()[:_HASH_CHARACTERS]


def licence_of(model: Path) -> str:
    """Returns the licence that a model's manifest names."""
    path = model / MANIFEST
    if not path.is_file():
        return "not known"
    return str(json.loads(path.read_text(encoding="utf-8")).get("licence", "not known"))


def model_folder(given: str) -> Path:
    """Returns the folder of a model: the path given, or the name below RECLM_HOME/models.

    Raises:
        TrainingError: There is no model.
    """
    home = os.environ.get("RECLM_HOME")
    for folder in [Path(given), *([Path(home) / "models" / given] if home else [])]:
        if (folder / "config.json").is_file():
            return folder
    raise TrainingError(
        f"no model {given}: give the folder of one with config.json, or get it with "
        f"`reclm-serve models get {given}` and set RECLM_HOME"
    )
