"""`manifest.json`: what an output folder holds, for those who read it and for the next run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from services.backfill.errors import BackfillError, room_for
from services.backfill.parts import PartFile
from services.common.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputManifest:
    """What a folder holds.

    Attributes:
        kind: Of all profiles: user or item.
        dtype: Of the numbers in vectors.
        partitions: How many the ids are spread over; a partition without a profile has no file.
        version: What the profiles are made with: its digest, and its parts by name.
        complete: Whether every row of the input has an outcome. False while a job is at work.
        parts: The files that hold profiles.
        outcomes: Of the rows, in the last run.
        started_at: When the last run began, RFC 3339.
        finished_at: When it ended; None while it is at work.
    """

    kind: str
    dtype: str
    partitions: int
    version: Mapping[str, Any]
    complete: bool
    parts: tuple[PartFile, ...]
    outcomes: Mapping[str, int]
    started_at: str
    finished_at: str | None

    @property
    def rows(self) -> int:
        """Profiles in all files."""
        return sum(part.rows for part in self.parts)

    def write(self, folder: Path) -> None:
        """Puts the manifest into the folder, in the place of an earlier one."""
        document = {"format": _FORMAT, **asdict(self), "rows": self.rows}
        with room_for(folder / NAME), atomic_file(folder / NAME) as file:
            file.write(json.dumps(document, indent=2).encode() + b"\n")

    @classmethod
    def read(cls, folder: Path) -> OutputManifest | None:
        """Returns a folder's manifest; None when it has none.

        Raises:
            BackfillError: It is damaged, or of another format.
        """
        path = folder / NAME
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise BackfillError(f"{path} is not JSON ({error}); choose another folder") from error
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise BackfillError(f"{path} is not of format {_FORMAT}; choose another folder")
        try:
            values = {field.name: document[field.name] for field in fields(cls)}
            values["parts"] = tuple(PartFile(**part) for part in values["parts"])
        except (KeyError, TypeError) as error:
            raise BackfillError(f"{path} is damaged ({error}); choose another folder") from error
        return cls(**values)
