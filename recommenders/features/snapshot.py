"""A snapshot: the profiles that an experiment was made with, in a folder that never changes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.data.errors import DatasetError
from recommenders.features.table import ProfileTable

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "manifest.json"
USERS, ITEMS = "users.parquet", "items.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotInfo:
    """Where profiles are from.

    Attributes:
        dataset: The name of the dataset.
        split: The fingerprint of the split from whose training part the histories were taken;
            None where there is none: profiles of items from their own texts read no history, and
            what those from a file have read, nobody can vouch for.
        source: What wrote them: a service's version, or the name of a file.
        encoder: What made the vectors of them, name@hash.
        failed: How many users and items were asked for and got no profile.
        version: The version of the profiles, as the service writes it; None where several or none
            are known.
    """

    dataset: str
    split: str | None
    source: str
    encoder: str
    failed: int = 0
    version: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Returns it for JSON, without a version that is not known."""
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
        """Returns 16 hexadecimal digits that stand for every profile and where it is from."""
        parts = [table and table.digest() for table in (self.users, self.items)]
        document = json.dumps([self.info.document(), parts], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Writes the snapshot's folder, whole or not at all.

        Raises:
            DatasetError: Something is there already.
        """
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise DatasetError(f"{folder} is not empty; choose another for the snapshot")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            for name, table in ((USERS, self.users), (ITEMS, self.items)):
                if table is not None:
                    table.write(new / name)
            # Of what is read back, since vectors are rounded when they are written.
            fingerprint = _read(new, self.info).fingerprint()
            document: dict[str, Any] = {**self.info.document(), "fingerprint": fingerprint}
            (new / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            new.rename(folder)

    @classmethod
    def read(cls, folder: Path) -> Snapshot:
        """Reads a snapshot's folder.

        Raises:
            DatasetError: A file is missing or damaged, or is not the one that was written.
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
            raise DatasetError(f"{folder}: the profiles are not those of {MANIFEST}; make it anew")
        return snapshot


def _read(folder: Path, info: SnapshotInfo) -> Snapshot:
    users, items = (
        ProfileTable.read(folder / name) if (folder / name).is_file() else None
        for name in (USERS, ITEMS)
    )
    return Snapshot(info, users, items)
