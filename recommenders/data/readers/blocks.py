"""Rows of a file as a dataset takes them: the first bad value ends the reading, and is named.

Files of tens of millions of rows pass through here without a Python object for each row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommenders.data.dataset import INTERACTION_COLUMNS
from recommenders.data.errors import DatasetError
from services.common.tabular import blocks, delimited, reader
from services.common.tabular.blocks import Columns, raised_as
from services.common.tabular.files import Source, sources
from services.common.tabular.rules import ID, NUMBER, TEXT, time_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from services.common.tabular.delimited import Dialect
    from services.common.tabular.rules import Rule, TimeUnit

    Column = pa.Array[Any]

_SECONDS = 10**12  # either side of 1970: some 31,000 years


def read_delimited(path: Path, dialect: Dialect, columns: Sequence[str]) -> Iterator[Block]:
    """Yields the wanted columns of a delimited file, whatever its name; raises DatasetError."""
    with raised_as(DatasetError):
        source = Source(path, str(path), "csv")
        yield from map(Block, delimited.read_delimited(source, Columns(columns), dialect))


def read_files(path: Path, columns: Sequence[str]) -> Iterator[Block]:
    """Yields the wanted columns of a file or a folder of any known format; raises DatasetError."""
    with raised_as(DatasetError):
        for source in sources(path):
            named = replace(source, name=str(source.path))
            yield from map(Block, reader.read_blocks(named, Columns(columns)))


class Block:
    """Some rows of a file. Each method raises a DatasetError that names the first row that is wrong."""

    def __init__(self, rows: blocks.Block) -> None:
        """Takes the rows; refuses lines that are not even rows."""
        if rows.bad:
            raise DatasetError(f"{rows.bad[0].where}: {rows.bad[0].why}")
        self._rows = rows

    def texts(self, name: str, *, empty: bool = True) -> Column:
        """Returns a column as strings: whole numbers in digits, null empty, which may be refused."""
        texts = self._read(name, TEXT)
        if not empty:
            self.refuse(pc.equal(texts, pa.scalar("")), lambda _: f"{name} is empty")
        return texts

    def ids(self, name: str, *, known: Column | None = None) -> Column:
        """Returns a column of ids as strings; only those that are known, if these are given."""
        ids = self._read(name, ID).cast(pa.string())
        if known is not None:
            unknown = pc.invert(pc.is_in(ids, value_set=known))
            self.refuse(unknown, lambda row: f"{name} {ids[row].as_py()!r} is not among the items")
        return ids

    def numbers(self, name: str) -> Column:
        """Returns a column of finite numbers as float32."""
        return self._read(name, NUMBER).cast(pa.float32(), safe=False)

    def times(self, name: str, unit: TimeUnit = "s") -> Column:
        """Returns moments, or numbers that count the unit, as int64: seconds since 1970, cut off."""
        seconds = np.asarray(self._read(name, time_rule(unit))) // 1_000_000
        hint = "; is it in milliseconds?" if unit == "s" else ""
        far = np.abs(seconds) >= _SECONDS
        self.refuse(
            far, lambda row: f"{name} {seconds[row]} is no time in seconds since 1970{hint}"
        )
        return pa.array(seconds, pa.int64())

    def refuse(self, wrong: Column | NDArray[np.bool_], what: Callable[[int], str]) -> None:
        """Raises for the first row that is marked as wrong; `what` says what is wrong with it."""
        rows = np.flatnonzero(np.asarray(wrong))
        if rows.size:
            self.fail(int(rows[0]), what(int(rows[0])))

    def fail(self, row: int, what: str) -> NoReturn:
        """Raises a DatasetError that names a row."""
        raise DatasetError(f"{self._rows.row(row).where}: {what}")

    def _read(self, name: str, rule: Rule) -> Column:
        with raised_as(DatasetError):
            column = self._rows.read(name, rule)
        self.refuse(column.is_null(), lambda row: self._rows.fault(row, {name: rule}).why)
        return column


@dataclass(frozen=True, kw_only=True, slots=True)
class InteractionColumns:
    """What the columns of a file of interactions are called.

    Attributes:
        user: User ids.
        item: Item ids.
        time: Seconds since 1970, or moments such as `2024-05-01 12:30:00` (UTC unless they say
            otherwise); None if there are none, and all timestamps are 0.
        time_unit: What times count that are numbers.
        weight: Numbers such as ratings; None if there are none, and all weights are 1.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None
    time_unit: TimeUnit = "s"
    weight: str | None = None

    @property
    def all(self) -> list[str]:
        """The names of the columns that there are."""
        return [name for name in (self.user, self.item, self.time, self.weight) if name is not None]


def interactions_table(
    rows: Iterable[Block], columns: InteractionColumns, known: Column | None
) -> pa.Table:
    """Returns interactions in the dataset's columns; `known` are the ids of all items, if known.

    Raises:
        DatasetError: A value cannot be read; file and line are named.
    """
    schema = pa.schema(INTERACTION_COLUMNS)
    batches = []
    for block in rows:
        users, items = block.ids(columns.user), block.ids(columns.item, known=known)
        times: Column = pa.array(np.zeros(len(users), np.int64))
        weights: Column = pa.array(np.ones(len(users), np.float32))
        if columns.time is not None:
            times = block.times(columns.time, columns.time_unit)
        if columns.weight is not None:
            weights = block.numbers(columns.weight)
        batches.append(pa.record_batch([users, items, times, weights], schema=schema))
    return pa.Table.from_batches(batches, schema=schema)
