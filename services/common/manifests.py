"""`manifest.json`: the files of a folder with their hashes, and one hash over all of them.

Every folder that RecLM writes for others to read has one: fetched models, merged models, adapters.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypedDict

from services.common.errors import ArtifactError
from services.common.hashing import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
_HASH_CHARACTERS = 12


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


def recorded_hashes(folder: Path) -> dict[str, str] | None:
    """Returns the SHA-256 of each file as the manifest records it; None without a manifest.

    Raises:
        ManifestError: The manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(name): str(record["sha256"]) for name, record in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path} is damaged: {error!r}") from error


def content_hash(folder: Path, file: str | None = None) -> str:
    """Returns 12 hexadecimal digits that identify a folder's content, or that of one file in it.

    The hashes are taken from the manifest where there is one, else computed from the files.

    Args:
        folder: The folder.
        file: Relative POSIX path of one file; None for all of them.

    Raises:
        ManifestError: The folder or the file is missing, or the manifest is damaged.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder")
    hashes = recorded_hashes(folder)
    if file is not None:
        recorded = None if hashes is None else hashes.get(file)
        if recorded is None and not (folder / file).is_file():
            raise ManifestError(f"{folder / file} is missing")
        return (recorded or sha256_of(folder / file))[:_HASH_CHARACTERS]
    if hashes is None:
        hashes = {name: record["sha256"] for name, record in file_records(folder).items()}
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name}\0{hashes[name]}\n".encode())
    return digest.hexdigest()[:_HASH_CHARACTERS]
