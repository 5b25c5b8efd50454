"""A snapshot: the profiles of an experiment, in a folder that never changes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recommenders.data.errors import DatasetError
from recommenders.features.table import ProfileTable
from services.common import profile_tables
from services.common.files import atomic_folder, is_occupied, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
USERS, ITEMS = "users.parquet", "items.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotInfo:
    """The provenance of profiles.

    Attributes:
        dataset: The name of the dataset.
        split: The fingerprint of the split whose training part the histories were taken from. None
            for profiles of items from their own texts, which read no history, and for profiles from
            a file, whose histories are unknown.
        source: The version of the service that made them, or the name of a file.
        encoder: The encoder of their vectors, name@hash.
        failed: Number of users and items that were requested and have no profile.
        version: The version of the profiles in the service's form; None if it is unknown or not
            unique.
        known: Number of first clicks that the profiles of new users were requested with; None for
            all other snapshots.
        knowledge_cutoff: The last day, month or year of what the model that wrote the profiles has
            read, such as `2023-12`; None if it is not known.
    """

    dataset: str
    split: str | None
    source: str
    encoder: str
    failed: int = 0
    version: Mapping[str, Any] | None = None
    known: int | None = None
    knowledge_cutoff: str | None = None

    def document(self) -> dict[str, Any]:
        """Returns the members for JSON; a version or a number that is None is left out."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None or name == "split"
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Profiles of a dataset's users and items; either may be missing."""

    info: SnapshotInfo
    users: ProfileTable | None
    items: ProfileTable | None

    def fingerprint(self) -> str:
        """Returns a hash of all profiles and their provenance, 16 hexadecimal digits."""
        parts = [None if table is None else table.digest() for table in (self.users, self.items)]
        return profile_tables.fingerprint(self.info.document(), parts)

    def write(self, folder: Path) -> None:
        """Writes the snapshot's folder atomically.

        Raises:
            DatasetError: The folder is not empty.
        """
        if is_occupied(folder):
            raise DatasetError(f"{folder} is not empty; choose another for the snapshot")
        with atomic_folder(folder) as new:
            for name, table in ((USERS, self.users), (ITEMS, self.items)):
                if table is not None:
                    table.write(new / name)
            # The fingerprint of what is read back, since writing rounds the vectors.
            fingerprint = _read(new, self.info).fingerprint()
            document: dict[str, Any] = {**self.info.document(), "fingerprint": fingerprint}
            write_json(new / MANIFEST, document)

    @classmethod
    def read(cls, folder: Path) -> Snapshot:
        """Reads a snapshot's folder.

        Raises:
            DatasetError: A file is missing or damaged, or differs from the manifest.
        """
        path = folder / MANIFEST
        try:
            document = json.loads(path.read_bytes())
            fingerprint = document.pop("fingerprint")
            info = SnapshotInfo(**document)
        except FileNotFoundError as error:
            raise DatasetError(
                f"{path} is missing; `reclm-recommend features` makes a snapshot"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{path} is not the manifest of a snapshot: {error!r}") from error
        snapshot = _read(folder, info)
        if snapshot.fingerprint() != fingerprint:
            raise DatasetError(
                f"{folder}: the profiles differ from {MANIFEST}; make the snapshot anew"
            )
        return snapshot


def _read(folder: Path, info: SnapshotInfo) -> Snapshot:
    users, items = (
        ProfileTable.read(folder / name) if (folder / name).is_file() else None
        for name in (USERS, ITEMS)
    )
    return Snapshot(info, users, items)
