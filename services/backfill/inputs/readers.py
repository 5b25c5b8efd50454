"""The input of a backfill: interactions, items or histories, in files of any size."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client import Item
from services.backfill.errors import BackfillError
from services.common.tabular.blocks import Columns, raised_as
from services.common.tabular.files import sources
from services.common.tabular.reader import read_blocks
from services.common.tabular.rules import ID, TEXT, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from reclm_client import Kind
    from services.common.tabular.blocks import BadRow

_ITEM_COLUMNS = Columns(required=("item_id", "title"), sparse=("category", "description"))
_ITEM_RULES = {"item_id": ID, "title": TEXT, "category": TEXT, "description": TEXT}


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Where the profiles to make come from.

    Attributes:
        kind: Whose profiles: of users, from interactions or histories, or of items, from items,
            or from histories of what the same people chose.
        interactions: A file or a folder: columns user_id, item_id, optionally timestamp, weight.
        items: A file or a folder: columns item_id, title, optionally category, description.
        histories: A file or a folder of NDJSON: members id, history.
        min_weight: Leave out interactions with less weight.
    """

    kind: Kind
    interactions: Path | None = None
    items: Path | None = None
    histories: Path | None = None
    min_weight: float | None = None

    def __post_init__(self) -> None:
        """Checks that the parts fit each other; raises BackfillError if they do not."""
        if self.kind not in ("user", "item"):
            raise BackfillError(f"kind is {self.kind!r}; it must be 'user' or 'item'")
        if self.kind == "user" and (self.interactions is None) == (self.histories is None):
            raise BackfillError("users' profiles need either interactions or histories, not both")
        if self.kind == "item" and self.interactions is not None:
            raise BackfillError("items' profiles are not made from interactions; give histories")
        if self.kind == "item" and self.items is None and self.histories is None:
            raise BackfillError("items' profiles need items or histories")
        if self.min_weight is not None and self.interactions is None:
            raise BackfillError("min_weight is for interactions, and there are none")
        if self.min_weight is not None and not math.isfinite(self.min_weight):
            raise BackfillError(f"min_weight is {self.min_weight}; it must be a finite number")

    @property
    def paths(self) -> list[Path]:
        """All that is read, in the order of `given`."""
        return [getattr(self, name) for name in self.given]

    @property
    def given(self) -> list[str]:
        """What there is: interactions, histories, items."""
        names = ("interactions", "histories", "items")
        return [name for name in names if getattr(self, name) is not None]


def fingerprint(paths: Iterable[Path], options: Mapping[str, object]) -> str:
    """Returns 32 hex digits that change with the files and with what is done with them.

    Over options, and over names (below each path), sizes and times of change of the files.

    Raises:
        BackfillError: A path is not there, or has no file of a known format.
    """
    files = []
    with raised_as(BackfillError):
        for path in paths:
            for source in sources(path):
                stat = source.path.stat()
                files.append((source.name, stat.st_size, stat.st_mtime_ns))
            files.append(("", 0, 0))
    document = json.dumps([files, sorted(options.items())], ensure_ascii=False)
    return hashlib.blake2b(document.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def read_items(path: Path) -> Iterator[list[Item | BadRow]]:
    """Yields the items of a file or a folder in blocks, in order; of two with one id both.

    Titles may be empty or too long: that is the service's to refuse.

    Raises:
        BackfillError: A file cannot be read, or a column is missing.
    """
    with raised_as(BackfillError):
        for source in sources(path):
            for block in read_blocks(source, _ITEM_COLUMNS):
                found, bad = block.checked(_ITEM_RULES)
                names = [name.removeprefix("item_") for name in found]
                rows = zip(*map(listed, found.values()), strict=True)
                items = [Item(**dict(zip(names, row, strict=True))) for row in rows]
                if items or bad:
                    yield [*items, *bad]
