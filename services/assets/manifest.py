"""What an asset folder says about itself, and whether it still is what was fetched.

Standard library only: the service reads manifests too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.assets.errors import AssetError
from services.assets.wheels import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
_HASH_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an asset is from, and under which terms."""

    name: str
    source: str
    licence: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an asset: its hex sha256 and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of manifest.json; `files` is keyed by POSIX path relative to the folder."""

    origin: Origin
    created_at: str
    files: Mapping[str, FileEntry]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


def write_manifest(folder: Path, origin: Origin) -> None:
    """Hashes every file of a folder and writes its manifest."""
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_of(path),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    document = {
        **asdict(origin),
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a folder.

    Raises:
        AssetError: There is none, or it is not one.
    """
    path = folder / MANIFEST
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        origin = Origin(*(str(document[key]) for key in ("name", "source", "licence")))
        files = {
            str(name): FileEntry(sha256=str(entry["sha256"]), size=int(entry["size"]))
            for name, entry in document["files"].items()
        }
        return Manifest(origin=origin, created_at=str(document["created_at"]), files=files)
    except OSError as error:
        raise AssetError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(f"{path} is not an asset manifest: {error!r}") from error


def is_complete(folder: Path) -> bool:
    """Says whether every file of an asset is there in its full size. Reads no content."""
    if not (folder / MANIFEST).is_file():
        return False
    entries = read_manifest(folder).files.items()
    return all(_size(folder / name) == entry.size for name, entry in entries)


def verify(folder: Path) -> Manifest:
    """Hashes every file of an asset again.

    Raises:
        AssetError: A file is missing or differs from the manifest; the message names it.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file():
            fault = "is missing"
        elif (digest := sha256_of(path)) != entry.sha256:
            fault = f"has sha256 {digest}, and was fetched with {entry.sha256}"
        else:
            continue
        raise AssetError(f"{path} {fault}; fetch {manifest.origin.name} again with --force")
    return manifest


def content_hash(folder: Path, file: str | None = None) -> str:
    """Returns 12 hex digits that stand for an asset's content, or for one file of it.

    Taken from the manifest where there is one, else computed from the files.

    Raises:
        AssetError: The folder or the file is not there, or the manifest is not one.
    """
    if not folder.is_dir():
        raise AssetError(f"{folder} is not a folder")
    if file is not None:
        return _file_hash(folder, file)[:_HASH_CHARACTERS]
    names = (
        list(read_manifest(folder).files)
        if (folder / MANIFEST).is_file()
        else [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    )
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{_file_hash(folder, name)}\n".encode())
    return digest.hexdigest()[:_HASH_CHARACTERS]


def _file_hash(folder: Path, name: str) -> str:
    if (folder / MANIFEST).is_file():
        entry = read_manifest(folder).files.get(name)
        if entry is not None:
            return entry.sha256
    if not (folder / name).is_file():
        raise AssetError(f"{folder / name} is missing")
    return sha256_of(folder / name)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
