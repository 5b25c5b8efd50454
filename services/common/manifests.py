"""`manifest.json`: the files of a folder with their hashes, and one hash over all of them.

Every folder that RecLM writes for others to read has one: fetched models, merged models, adapters.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

from services.common.errors import ArtifactError
from services.common.hashing import remembered_sha256_of, sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
_HASH_CHARACTERS = 12
_WEIGHTS = {".bin", ".gguf", ".onnx", ".pt", ".pth", ".safetensors"}


class ManifestError(ArtifactError):
    """A manifest or a file that it lists is missing or damaged."""


class FileRecord(TypedDict):
    """What a manifest records of one file: its SHA-256 in hexadecimal digits, its size in bytes."""

    sha256: str
    size: int


def rows_fingerprint(manifest: Mapping[str, Any]) -> str:
    """Returns 16 hexadecimal digits that identify the rows of a builder's folder and their manifest.

    Args:
        manifest: What `reclm-train data` writes, without the fingerprint.
    """
    canonical = json.dumps(manifest, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Returns hash and size of every file of a folder but its manifest, by relative POSIX path.

    Raises:
        OSError: A file cannot be read.
    """
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_of(path),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def recorded_files(folder: Path) -> list[str] | None:
    """Returns the files that the manifest lists, by relative POSIX path; None without a manifest.

    Raises:
        ManifestError: The manifest is damaged, or lists a file outside of the folder.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        names = [str(name) for name, record in files.items() if record["sha256"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path} is damaged: {error!r}") from error
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ManifestError(f"{path} is damaged: {name!r} is no file of this folder")
    return names


def content_hash(folder: Path, file: str | None = None) -> str:
    """Returns 12 hexadecimal digits that identify a folder's content, or that of one file in it.

    A manifest says which files are the folder's, as notes may lie beside them; what is in them is
    read, and not taken from there.

    Args:
        folder: The folder.
        file: Relative POSIX path of one file; None for all of them.

    Raises:
        ManifestError: The folder or a file is missing, cannot be read or is foreign, or the manifest
            is damaged.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder")
    names = [file] if file is not None else recorded_files(folder)
    if names is None:
        names = [found.relative_to(folder).as_posix() for found in folder.rglob("*")]
        names = [name for name in names if (folder / name).is_file() and name != MANIFEST]
    elif file is None:
        _refuse_foreign(folder, names)
    hashes = {name: _hash_of(folder / name) for name in sorted(names)}
    if file is not None:
        return hashes[file][:_HASH_CHARACTERS]
    digest = hashlib.sha256()
    for name, of_file in hashes.items():
        digest.update(f"{name}\0{of_file}\n".encode())
    return digest.hexdigest()[:_HASH_CHARACTERS]


def _refuse_foreign(folder: Path, names: list[str]) -> None:
    """Refuses weights that the manifest does not list: a model server loads whatever lies there."""
    for path in sorted(folder.iterdir()):
        if path.suffix in _WEIGHTS and path.name not in names:
            raise ManifestError(
                f"{path} is not in the folder's {MANIFEST}; remove it, or get the folder again"
            )


def _hash_of(path: Path) -> str:
    try:
        return remembered_sha256_of(path)
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing") from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
