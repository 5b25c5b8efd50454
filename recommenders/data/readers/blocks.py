"""Columns of a file, some rows at a time, checked with Arrow; a bad value is named where it stood.

Files of tens of millions of rows pass through here without a Python object for each row.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommenders.data.dataset import INTERACTION_COLUMNS
from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Column = pa.Array[Any]

TimeUnit = Literal["s", "ms", "us"]

_SECONDS = 10**12  # either side of 1970: some 31,000 years
_HEXADECIMAL = "x"  # Arrow takes such digits, and nobody means them
_MOMENT = r":|^\d{4}-\d"
_PER_SECOND: Mapping[TimeUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000}


class Block:
    """Some rows of a file.

    Attributes:
        columns: Each as long as the block: bytes that nobody has looked at, or what Parquet has.
    """

    def __init__(
        self, columns: Mapping[str, Column], where: Callable[[int], str], start: int = 0
    ) -> None:
        """Takes the columns as they are.

        Args:
            columns: As above.
            where: Says where a row of the file stood, such as "ratings.csv, line 7".
            start: Which row of the file the block begins with.
        """
        self.columns = columns
        self._where = where
        self._start = start

    def texts(self, name: str) -> Column:
        """Returns a column as strings: whole numbers in digits, null as an empty string.

        Raises:
            DatasetError: A value is not UTF-8, or the column holds neither text nor whole numbers.
        """
        column = self.columns[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not (_is_text(column.type) or pa.types.is_integer(column.type)):
            if column.null_count < len(column):
                self.fail(0, f"{name} is of type {column.type}, not text or a whole number")
            return pa.array([""] * len(column), pa.string())
        try:
            return column.cast(pa.string()).fill_null("")
        except pa.ArrowInvalid:
            return self._name_broken_text(name, column)

    def ids(self, name: str, *, known: Column | None = None) -> Column:
        """Returns a column as strings, of which none is empty.

        Args:
            name: The column.
            known: The ids that there are; all by default.

        Raises:
            DatasetError: As for `texts`, or a value is missing or not known.
        """
        ids = self.texts(name)
        self.refuse(pc.equal(ids, pa.scalar("")), lambda _: f"no {name}")
        if known is not None:
            unknown = pc.invert(pc.is_in(ids, value_set=known))
            self.refuse(unknown, lambda row: f"{name} {ids[row].as_py()!r} is not among the items")
        return ids

    def integers(self, name: str) -> Column:
        """Returns a column as int64.

        Raises:
            DatasetError: A value is none.
        """
        return self._parsed(name, pa.int64(), "whole number")

    def numbers(self, name: str) -> Column:
        """Returns a column as float32.

        Raises:
            DatasetError: A value is none, or not finite.
        """
        numbers = self._parsed(name, pa.float64(), "number")
        infinite = pc.invert(pc.is_finite(numbers))
        self.refuse(infinite, lambda row: f"{name} {numbers[row].as_py()!r} is not finite")
        return numbers.cast(pa.float32(), safe=False)

    def times(self, name: str, unit: TimeUnit = "s") -> Column:
        """Returns a column of moments or of whole numbers as int64, seconds since 1970.

        Args:
            name: The column.
            unit: What whole numbers count; fractions of a second are cut off.

        Raises:
            DatasetError: A value is neither, or tens of thousands of years away.
        """
        column = self.columns[name]
        if _is_text(column.type):
            texts = self.texts(name)
            if pc.any(pc.match_substring_regex(texts, _MOMENT)).as_py():
                column = self._moments(name, texts)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            self.refuse(column.is_null(), lambda _: f"no {name}")
            return column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        whole = np.asarray(self.integers(name)) // _PER_SECOND[unit]
        hint = "; is it in milliseconds?" if unit == "s" else ""
        far = np.abs(whole) >= _SECONDS
        self.refuse(far, lambda row: f"{name} {whole[row]} is no time in seconds since 1970{hint}")
        return pa.array(whole, pa.int64())

    def refuse(self, wrong: Column | NDArray[np.bool_], what: Callable[[int], str]) -> None:
        """Raises for the first row that is wrong.

        Args:
            wrong: A boolean for each row.
            what: Says what is wrong with a row.
        """
        rows = np.flatnonzero(np.asarray(wrong))
        if rows.size:
            self.fail(int(rows[0]), what(int(rows[0])))

    def fail(self, row: int, what: str) -> NoReturn:
        """Raises a DatasetError that names a row."""
        raise DatasetError(f"{self._where(self._start + row)}: {what}")

    def _parsed(self, name: str, kind: pa.DataType, what: str) -> Column:
        column = self.columns[name]
        if not _is_text(column.type):
            self.refuse(column.is_null(), lambda _: f"no {name}")
            try:
                return column.cast(kind)
            except pa.ArrowException:
                self.fail(0, f"{name} is of type {column.type}, and not each is a {what}")
        texts = self.texts(name)
        if not pc.any(pc.match_substring(texts, _HEXADECIMAL, ignore_case=True)).as_py():
            with suppress(pa.ArrowInvalid):
                return texts.cast(kind)
        return self._name_first(name, texts, kind, what)

    def _moments(self, name: str, texts: Column) -> Column:
        """Reads moments such as `2024-05-01 12:30:00`, all with a time zone or all without."""
        naive, zoned = pa.timestamp("us"), pa.timestamp("us", "UTC")
        for kind in (naive, zoned):
            with suppress(pa.ArrowInvalid):
                return texts.cast(kind)
        first = zoned if _casts(texts[0], zoned) else naive
        what = "moment with a time zone" if first is zoned else "moment without a time zone"
        return self._name_first(name, texts, first, what)

    def _name_first(self, name: str, texts: Column, kind: pa.DataType, what: str) -> NoReturn:
        """Raises for the first text that is not of a kind."""
        bad = np.array([not _casts(text, kind) for text in texts])
        self.refuse(bad, lambda row: f"{name} {texts[row].as_py()!r} is no {what}")
        self.fail(0, f"{name} is no {what}")

    def _name_broken_text(self, name: str, column: Column) -> NoReturn:
        for row, raw in enumerate(column.cast(pa.large_binary()).to_pylist()):
            try:
                (raw or b"").decode()
            except UnicodeDecodeError as error:
                self.fail(row, f"{name} is not UTF-8: {error}")
        self.fail(0, f"{name} is not UTF-8")


def interaction_batch(
    block: Block,
    known: Column | None,
    *,
    user: str,
    item: str,
    time: str | None = None,
    time_unit: TimeUnit = "s",
    weight: str | None = None,
) -> pa.RecordBatch:
    """Returns a block of interactions in the dataset's columns.

    Args:
        block: The rows.
        known: The ids of all items, if items of another name are wrong.
        user: The column of user ids.
        item: The column of item ids.
        time: The column of times; without it all are 0.
        time_unit: What it counts, if it holds whole numbers.
        weight: The column of weights; without it all are 1.

    Raises:
        DatasetError: A value cannot be read; file and line are named.
    """
    users, items = block.ids(user), block.ids(item, known=known)
    none = np.zeros(len(users), np.int64)
    times = block.times(time, time_unit) if time else pa.array(none)
    weights = block.numbers(weight) if weight else pa.array(np.ones(len(users), np.float32))
    return pa.record_batch([users, items, times, weights], schema=pa.schema(INTERACTION_COLUMNS))


def listed(column: Column) -> list[str]:
    """Returns strings, of which none is null, as Python has them."""
    values: list[Any] = column.to_pylist()
    return values


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _casts(text: pa.Scalar[Any], kind: pa.DataType) -> bool:
    if _HEXADECIMAL in str(text).lower():
        return False
    try:
        text.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
