"""What a backfill is made from: interactions, items or histories, in files of any size.

Readers go through a file in blocks and yield what is good in it and, row by row, what is not.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client import Item
from services.backfill.errors import BackfillError
from services.backfill.inputs.columns import values_of
from services.backfill.inputs.csv_files import read_csv
from services.backfill.inputs.files import Block, Columns, Source, sources
from services.backfill.inputs.ndjson_files import read_ndjson
from services.backfill.inputs.parquet_files import read_parquet, row_count
from services.backfill.inputs.values import described, id_fault, id_of, readable_id, text_of
from services.backfill.rows import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from reclm_client import Kind

ITEM_COLUMNS = Columns(required=("item_id", "title"), sparse=("category", "description"))


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
        """Checks that the parts fit each other.

        Raises:
            BackfillError: They do not.
        """
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
        every = (self.interactions, self.histories, self.items)
        return [path for path in every if path is not None]

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
    for path in paths:
        for source in sources(path):
            stat = source.path.stat()
            files.append((source.name, stat.st_size, stat.st_mtime_ns))
        files.append(("", 0, 0))
    document = json.dumps([files, sorted(options.items())], ensure_ascii=False)
    return hashlib.blake2b(document.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def read_blocks(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the rows of a file of any format.

    Raises:
        BackfillError: The file cannot be read, or a column is missing.
    """
    if source.format == "parquet":
        return read_parquet(source, columns)
    if source.format == "ndjson":
        return read_ndjson(source, columns)
    return read_csv(source, columns)


def read_items(path: Path) -> Iterator[list[Item | BadRow]]:
    """Yields the items of a file or a folder in blocks, in order; of two with one id both.

    Titles may be empty or too long: that is the service's to refuse.

    Raises:
        BackfillError: A file cannot be read, or a column is missing.
    """
    for source in sources(path):
        for block in read_blocks(source, ITEM_COLUMNS):
            if found := [*_items(block), *block.bad]:
                yield found


def estimated_rows(path: Path, *, row_bytes: int) -> int:
    """Returns how many rows a file or a folder has: exactly for Parquet, else a guess.

    Args:
        path: The file or folder.
        row_bytes: What a row of CSV takes.
    """
    total = 0
    for source in sources(path):
        if source.format == "parquet":
            total += row_count(source)
            continue
        factor = 4 if source.path.name.lower().endswith(".gz") else 1
        width = 3 * row_bytes if source.format == "ndjson" else row_bytes
        total += factor * source.path.stat().st_size // width
    return total


def _items(block: Block) -> Iterator[Item | BadRow]:
    nothing: list[object] = [None] * block.size
    columns = [
        values_of(block.columns[name]) if name in block.columns else nothing
        for name in ITEM_COLUMNS.all
    ]
    for index, (item_id, *texts) in enumerate(zip(*columns, strict=True)):
        if id_fault("item_id", item_id) is None:
            title, category, description = map(text_of, texts)
            if title is not None and category is not None and description is not None:
                yield Item(id_of(item_id) or "", title, category, description)
                continue
        yield _bad_item(block, index)


def _bad_item(block: Block, index: int) -> BadRow:
    row = block.row(index)
    why = id_fault("item_id", row.values.get("item_id"))
    for name in ("title", "category", "description"):
        value = row.values.get(name)
        if why is None and text_of(value) is None:
            why = f"{name} {described(value)}, not a string"
    id_ = readable_id(row.values.get("item_id"))
    return BadRow(id_, row.where, why or "the row cannot be read", row.raw)
