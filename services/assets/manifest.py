"""The manifest of a fetched asset: its origin, and the hash and size of every file.

Standard library only: the service reads manifests too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.assets.errors import AssetError
from services.common.files import write_json
from services.common.hashing import sha256_of
from services.common.manifests import MANIFEST, FileRecord, file_records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """Name, source and licence of an asset."""

    name: str
    source: str
    licence: str


@dataclass(frozen=True, slots=True)
class AssetManifest:
    """The content of `manifest.json`; `files` is keyed by POSIX path relative to the folder."""

    origin: Origin
    created_at: str
    files: Mapping[str, FileRecord]

    @property
    def size(self) -> int:
        """Size of all files together, in bytes."""
        return sum(record["size"] for record in self.files.values())


def write_manifest(folder: Path, origin: Origin) -> None:
    """Hashes every file of a folder and writes its manifest."""
    document = {
        **asdict(origin),
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": file_records(folder),
    }
    write_json(folder / MANIFEST, document)


def read_manifest(folder: Path) -> AssetManifest:
    """Reads the manifest of a folder.

    Raises:
        AssetError: The manifest is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        origin = Origin(*(str(document[key]) for key in ("name", "source", "licence")))
        files = {
            str(name): FileRecord(sha256=str(entry["sha256"]), size=int(entry["size"]))
            for name, entry in document["files"].items()
        }
        return AssetManifest(origin=origin, created_at=str(document["created_at"]), files=files)
    except OSError as error:
        raise AssetError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(f"{path} is not an asset manifest: {error!r}") from error


def is_complete(folder: Path) -> bool:
    """Returns whether every file of an asset exists in its full size. Reads no content.

    Raises:
        AssetError: The manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return False
    records = read_manifest(folder).files.items()
    return all(_size(folder / name) == record["size"] for name, record in records)


def verify(folder: Path) -> AssetManifest:
    """Hashes every file of an asset again and compares the hashes with the manifest.

    Raises:
        AssetError: A file is missing or differs from the manifest; the message names it.
    """
    manifest = read_manifest(folder)
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            fault = "is missing"
        elif (digest := sha256_of(path)) != record["sha256"]:
            fault = f"has sha256 {digest}, and was fetched with {record['sha256']}"
        else:
            continue
        raise AssetError(f"{path} {fault}; fetch {manifest.origin.name} again with --force")
    return manifest


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
