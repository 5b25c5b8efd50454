"""Whole columns of ids, times and weights, checked with Arrow; `values` defines them."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.backfill.inputs.values import (
    CONTROLS,
    ID_CHARACTERS,
    SECONDS,
    id_of,
    microseconds_of,
    number_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Strings = pa.Array[Any]
    Column = pa.Array[Any] | list[object]


@dataclass(frozen=True, slots=True)
class Ids:
    """A column of ids: row i has `names[codes[i]]`, unless it is bad."""

    names: Strings
    codes: NDArray[np.int32]
    bad: NDArray[np.bool_]


def id_column(column: Column) -> Ids:
    """Reads a column of ids."""
    encoded = _strings(column).dictionary_encode()
    names = encoded.dictionary
    bad = encoded.indices.is_null().to_numpy(zero_copy_only=False)
    codes = encoded.indices.fill_null(0).to_numpy()
    if len(names):
        lengths = np.asarray(pc.call_function("utf8_length", [names]))
        controls = np.asarray(pc.match_substring_regex(names, CONTROLS))
        wrong = (lengths == 0) | (lengths > ID_CHARACTERS) | controls
        if wrong.any():
            bad = bad | wrong[codes]
    return Ids(names, codes, bad)


def time_column(column: Column) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Reads a column of times as microseconds since 1970; the second array says which are bad."""
    column = _array(column, microseconds_of, pa.timestamp("us"))
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return _filled(moments, 0), _nulls(moments)
    if pa.types.is_integer(kind) and kind != pa.uint64():
        seconds = column.cast(pa.int64())
        whole = _filled(seconds, 0)
        bad = _nulls(seconds) | (whole >= SECONDS) | (whole <= -SECONDS)
        return np.where(bad, 0, whole) * 1_000_000, bad
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        floats = _filled(column.cast(pa.float64(), safe=False), np.nan)
        bad = ~(np.abs(floats) < SECONDS)
        return np.rint(np.where(bad, 0, floats) * 1e6).astype(np.int64), bad
    return time_column(_parsed(_strings(column)))


def number_column(column: Column) -> NDArray[np.float64]:
    """Reads a column of numbers; what is none, or not finite, is NaN."""
    column = _array(column, number_of, pa.float64())
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            texts = _strings(column).to_pylist()
            column = pa.array([number_of(text) for text in texts], pa.float64())
    numbers = _filled(column.cast(pa.float64(), safe=False), np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def values_of(column: Column) -> list[object]:
    """Returns a column as Python has it, text as bytes where it has not been checked yet."""
    if isinstance(column, list):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        column = column.cast(pa.large_binary())
    values: list[object] = column.to_pylist()
    return values


def checksums(ids: Strings) -> NDArray[np.uint32]:
    """Returns a number for each string, the same in every process; others may have it too."""
    raw: list[Any] = ids.cast(pa.binary()).to_pylist()
    return np.fromiter(map(zlib.crc32, raw), np.uint32, len(raw))


def listed(ids: Strings) -> list[str]:
    """Returns strings, of which none is null, as Python has them."""
    values: list[Any] = ids.to_pylist()
    return values


def _strings(column: Column) -> Strings:
    """Returns a column of text or integers as strings, null for what is neither."""
    if isinstance(column, list):
        if set(map(type, column)) == {str}:
            return pa.array(column, pa.string())
        return pa.array([id_of(value) for value in column], pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.string())
    raw = column.cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([id_of(value) for value in raw.to_pylist()], pa.string())


def _parsed(texts: Strings) -> pa.Array[Any]:
    """Returns the times in a column of text: seconds, or moments."""
    # Arrow takes hexadecimal digits, and nobody means them.
    if not pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py():
        zoned = pa.timestamp("us", "UTC")
        for kind in (pa.int64(), pa.float64(), pa.timestamp("us"), zoned):
            with suppress(pa.ArrowInvalid):
                return texts.cast(kind)
    return pa.array([microseconds_of(text) for text in texts.to_pylist()], pa.timestamp("us"))


def _array(
    column: Column, convert: Callable[[object], float | None], kind: pa.DataType
) -> pa.Array[Any]:
    """Returns Arrow's form of a list: its own type if it is all of one, else converted."""
    if not isinstance(column, list):
        if pa.types.is_dictionary(column.type):
            return column.cast(column.type.value_type)
        return column
    kinds = set(map(type, column))
    if kinds <= {int} or kinds <= {float} or kinds <= {str}:
        with suppress(OverflowError, pa.ArrowInvalid):
            return pa.array(column)
    return pa.array([convert(value) for value in column], kind)


def _filled(column: pa.Array[Any], value: float) -> NDArray[Any]:
    return column.fill_null(value).to_numpy(zero_copy_only=False)


def _nulls(column: pa.Array[Any]) -> NDArray[np.bool_]:
    return column.is_null().to_numpy(zero_copy_only=False)
