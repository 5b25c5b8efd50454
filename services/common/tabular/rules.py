"""The rules of columns: what an id, a text, a time and a number may be, and what is wrong with others.

A rule is defined by how it reads one value. Whole columns are read by Arrow, and value by value only
where Arrow refuses them.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

if TYPE_CHECKING:
    from collections.abc import Callable

    Column = pa.Array[Any] | list[object]

TimeUnit = Literal["s", "ms", "us"]

_ID_CHARACTERS = 256
_CONTROLS = r"[\x00-\x1f\x7f-\x{9f}]"  # in the notation of RE2, which Arrow has
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTS = ("string", "large_string", "binary", "large_binary", "int", "uint")
_NUMBERS = (*_TEXTS, "halffloat", "float", "double", "decimal")
_TIMES = ("timestamp", "date")
_SECONDS = 9.2e12
"""Timestamps lie closer to 1970 than this: as microseconds they fit into 64 bits."""
_UNITS: dict[TimeUnit, tuple[str, int]] = {
    "s": ("seconds", 1),
    "ms": ("milliseconds", 1_000),
    "us": ("microseconds", 1_000_000),
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,60}")
_TRUTHS = ("True", "False")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 60


class Fault(ValueError):
    """A value breaks a rule; the message says how."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the values of a column have to be.

    Attributes:
        wanted: What Arrow columns have to hold, in words.
        names: How the names of Arrow's types begin whose values can keep to the rule.
        value: Reads a value; raises Fault where it breaks the rule.
        kind: The Arrow type of a column that was read.
        cast: Reads an Arrow column; raises ArrowException where it has to be read by its values.
    """

    wanted: str
    names: tuple[str, ...]
    value: Callable[[object], Any]
    kind: pa.DataType
    cast: Callable[[pa.Array[Any]], pa.Array[Any]]

    def fits(self, kind: pa.DataType) -> bool:
        """Returns whether values of an Arrow type can keep to the rule; null can."""
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_null(kind) or str(kind).startswith(self.names)

    def read(self, column: Column) -> pa.Array[Any]:
        """Returns a column of type `kind`, with null where a value breaks the rule."""
        with suppress(pa.ArrowException, OverflowError):
            plain = _of_one_type(column)
            if self.fits(plain.type):
                return self.cast(plain)
        return pa.array(map(self.valid, python_values(column)), self.kind)

    def valid(self, value: object) -> Any:  # noqa: ANN401 - whatever the rule reads
        """Returns what a value stands for, None if it breaks the rule."""
        with suppress(Fault):
            return self.value(value)

    def take(self, name: str, value: object) -> Any:  # noqa: ANN401
        """Returns what a value stands for; raises Fault with the value's name if it breaks the rule."""
        try:
            return self.value(value)
        except Fault as fault:
            raise Fault(f"{name} {fault}") from None


def python_values(column: Column) -> list[Any]:
    """Returns a column as Python objects, text as bytes: Arrow does not check that it is UTF-8."""
    if isinstance(column, list):
        return column
    column = _of_one_type(column)
    forms = {_TIMES: pa.timestamp("us"), ("decimal",): pa.float64(), _TEXTS[:4]: pa.large_binary()}
    for names, form in forms.items():
        if str(column.type).startswith(names):
            column = column.cast(form, safe=False)
    return column.to_pylist()


def listed(strings: pa.Array[Any]) -> list[str]:
    """Returns strings, of which none is null, as Python objects."""
    values: list[Any] = strings.to_pylist()
    return values


def described(value: object) -> str:
    """Returns "is null", "is a list", "is 'x'" and so on, for an error's message."""
    if value is None:
        return "is null or missing"
    if isinstance(value, bytes):
        text = _decoded(value)
        return "is not UTF-8" if isinstance(text, bytes) else described(text)
    if isinstance(value, str):
        return f"is {value if len(value) <= _SHOWN else value[:_SHOWN] + '...'!r}"
    names = {bool: "a truth value", list: "a list", dict: "an object"}
    return f"is {names.get(type(value), repr(value))}"


def _read_id(value: object) -> str:
    text = _string(value, "a string or an integer")
    if not text:
        raise Fault("is empty")
    if len(text) > _ID_CHARACTERS:
        raise Fault(f"has {len(text):,} characters; {_ID_CHARACTERS} are the most")
    if _CONTROL.search(text):
        raise Fault("has a control character")
    return text


def _read_text(value: object) -> str:
    return "" if value is None else _string(value, "a string")


def _read_number(value: object) -> float:
    number = math.nan
    with suppress(ValueError):
        text = str(_decoded(value))
        # Python takes 1_000, and nobody means it; a truth value is no number either.
        if isinstance(value, int | float | str | bytes) and "_" not in text and text not in _TRUTHS:
            number = float(text)
    if not math.isfinite(number):
        raise Fault(f"{described(value)}, not a finite number")
    return number


def _read_time(value: object, counted: str, per_second: int) -> int:
    """Returns microseconds since 1970; moments without an offset are in UTC."""
    found = _decoded(value)
    if isinstance(found, str):
        number = int(found) if _INTEGER.fullmatch(found) else NUMBER.valid(found)
        with suppress(ValueError):
            found = datetime.fromisoformat(found) if number is None else number
    if isinstance(found, datetime):
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return (found - _EPOCH) // timedelta(microseconds=1)
    limit = 0 if isinstance(found, bool) else _SECONDS * per_second
    if isinstance(found, int | float) and abs(found) < limit:
        return round(found * (1_000_000 // per_second))
    raise Fault(f"{described(value)}, not {counted} since 1970 or ISO 8601 within range")


def _string(value: object, wanted: str) -> str:
    """Returns text as it is and an integer in digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = _decoded(value)
    if isinstance(text, str):
        return text
    raise Fault(
        described(value) if isinstance(text, bytes) else f"{described(value)}, not {wanted}"
    )


def _decoded(value: object) -> object:
    """Returns bytes of UTF-8 as a string, anything else as it is."""
    with suppress(UnicodeDecodeError):
        return value.decode() if isinstance(value, bytes) else value
    return value


def _cast_ids(column: pa.Array[Any]) -> pa.Array[Any]:
    encoded = _strings(column).dictionary_encode()
    names = encoded.dictionary
    lengths = np.asarray(pc.call_function("utf8_length", [names]))
    controls = np.asarray(pc.match_substring_regex(names, _CONTROLS))
    good = pa.array((lengths > 0) & (lengths <= _ID_CHARACTERS) & ~controls)
    codes = pc.if_else(good.take(encoded.indices), encoded.indices, None)
    return pa.DictionaryArray.from_arrays(codes, names)


def _cast_texts(column: pa.Array[Any]) -> pa.Array[Any]:
    return _strings(column).fill_null("")


def _cast_numbers(column: pa.Array[Any]) -> pa.Array[Any]:
    text = str(column.type).startswith(_TEXTS)
    numbers = (_strings(column) if text else column).cast(pa.float64(), safe=False)
    finite: pa.Array[Any] = pc.if_else(pc.is_finite(numbers), numbers, None)
    return finite


def _cast_times(column: pa.Array[Any], per_second: int) -> pa.Array[Any]:
    kind = column.type
    if str(kind).startswith(_TIMES):
        return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    if types.is_integer(kind) or str(kind).startswith(_NUMBERS[len(_TEXTS) :]):
        whole = types.is_integer(kind) and kind != pa.uint64()
        column = column.cast(pa.int64() if whole else pa.float64(), safe=False)
        limit = pa.scalar(_SECONDS * per_second).cast(column.type, safe=False)
        near = pc.and_(pc.less(column, limit), pc.greater(column, pc.negate(limit)))
        scale = pa.scalar(1_000_000 // per_second).cast(column.type)
        scaled: pa.Array[Any] = pc.multiply(pc.if_else(near, column, None), scale)
        return scaled if whole else pc.round(scaled).cast(pa.int64())
    texts = _strings(column)
    # Arrow takes hexadecimal digits, and nobody means them.
    if not pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py():
        for known in (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
            with suppress(pa.ArrowInvalid):
                times = _cast_times(texts.cast(known), per_second)
                # Among fractions and signs, a whole number beyond this is read by itself, exactly.
                if known != pa.float64() or (pc.max(pc.abs(times)).as_py() or 0) < 2**53:
                    return times
    raise pa.ArrowInvalid("times of several forms")


def _of_one_type(column: Column) -> pa.Array[Any]:
    """Returns a column without its dictionary; raises ArrowInvalid for a list of several types."""
    if isinstance(column, list):
        if len(kinds := set(map(type, column))) > 1 or not kinds <= {int, float, str}:
            raise pa.ArrowInvalid("values of several types")
        return pa.array(column)
    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _strings(column: pa.Array[Any]) -> pa.Array[Any]:
    if not (types.is_integer(column.type) or types.is_null(column.type)):
        column = column.cast(pa.binary())
    return column.cast(pa.string())


ID = Rule("text or integers", _TEXTS, _read_id, pa.dictionary(pa.int32(), pa.string()), _cast_ids)
"""Strings of 1 to 256 characters, none a control character; integers in digits."""
TEXT = Rule("text or integers", _TEXTS, _read_text, pa.string(), _cast_texts)
"""Strings; integers in digits, null as an empty string."""
NUMBER = Rule("numbers", _NUMBERS, _read_number, pa.float64(), _cast_numbers)
"""Finite numbers."""


def time_rule(unit: TimeUnit = "s") -> Rule:
    """Returns the rule of times, read as int64 microseconds since 1970.

    Args:
        unit: What numbers count; all else is a moment, in ISO 8601 if it is text.
    """
    counted, per_second = _UNITS[unit]
    return Rule(
        f"{counted} since 1970, a time or ISO 8601 text",
        (*_NUMBERS, *_TIMES),
        partial(_read_time, counted=counted, per_second=per_second),
        pa.int64(),
        partial(_cast_times, per_second=per_second),
    )
