"""Columns turned into ids, numbers and times, and what is said of values that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import Block, interaction_batch

if TYPE_CHECKING:
    from recommenders.data.readers.blocks import TimeUnit


def block(*values: Any, kind: pa.DataType | None = None) -> Block:
    return Block({"x": pa.array(values, kind)}, lambda row: f"file, line {row + 1}", 4)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (block(b"a", b""), ["a", ""]),
        (block("ä", None), ["ä", ""]),
        (block(7, 123), ["7", "123"]),
        (block(None, None), ["", ""]),
        (block("a", "a", kind=pa.dictionary(pa.int8(), pa.string())), ["a", "a"]),
        (block("a", kind=pa.large_string()), ["a"]),
    ],
)
def test_text_and_whole_numbers_are_text(column: Block, expected: list[str]) -> None:
    texts = column.texts("x")
    assert texts.type == pa.string()
    assert texts.to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "method", "message"),
    [
        (block(b"a", b"\xff"), "texts", "file, line 6: x is not UTF-8"),
        (block(1.5, 2.0), "texts", "file, line 5: x is of type double, not text or a whole"),
        (block("a", ""), "ids", "file, line 6: no x"),
        (block("a", None), "ids", "file, line 6: no x"),
        (block(b"1", b"2.5"), "integers", "file, line 6: x '2.5' is no whole number"),
        (block(b"0x10"), "integers", "file, line 5: x '0x10' is no whole number"),
        (block("1", ""), "integers", "file, line 6: x '' is no whole number"),
        (block(1, None), "integers", "file, line 6: no x"),
        (block(1.5), "integers", "file, line 5: x is of type double, and not each is a whole"),
        (block("1", "inf"), "numbers", "file, line 6: x inf is not finite"),
        (block(1.0, float("nan")), "numbers", "file, line 6: x nan is not finite"),
        (block("good"), "numbers", "file, line 5: x 'good' is no number"),
        (block("1715000000123"), "times", "line 5: x 1715000000123 is no time .* milliseconds"),
        (block("2024-05-01", "May"), "times", "line 6: x 'May' is no moment"),
        (block("2024-05-01 10:00", "1715000000"), "times", "line 6: x '1715000000' is no moment"),
        (block(datetime(2024, 5, 1), None), "times", "line 6: no x"),
    ],
)
def test_a_value_that_is_none_is_named(column: Block, method: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        getattr(column, method)("x")


def test_ids_that_are_not_known_are_named() -> None:
    with pytest.raises(DatasetError, match="file, line 6: x 'b' is not among the items"):
        block("a", "b").ids("x", known=pa.array(["a"]))


@pytest.mark.parametrize(
    ("column", "unit", "expected"),
    [
        (block(b"1714557600", b"-1"), "s", [1714557600, -1]),
        (block(1714557600.0), "s", [1714557600]),
        (block(1714557600999, -1), "ms", [1714557600, -1]),
        (block("1714557600000001"), "us", [1714557600]),
        (block("2024-05-01 10:00:00", "1970-01-02"), "s", [1714557600, 86400]),
        (block("2024-05-01T10:00:00Z", "2024-05-01T12:00:00+02:00"), "s", [1714557600] * 2),
        (block(datetime(2024, 5, 1, 10)), "s", [1714557600]),
        (block(datetime(2024, 5, 1, 10, tzinfo=UTC)), "ms", [1714557600]),
        (block(datetime(2024, 5, 1, 10).date()), "s", [1714521600]),
    ],
)
def test_times_are_seconds_since_1970(column: Block, unit: TimeUnit, expected: list[int]) -> None:
    assert column.times("x", unit).to_pylist() == expected


def test_interactions_without_times_and_weights_have_0_and_1() -> None:
    columns = {"u": pa.array(["a"]), "i": pa.array([3])}
    batch = interaction_batch(Block(columns, str), None, user="u", item="i")
    assert batch.to_pylist() == [{"user_id": "a", "item_id": "3", "timestamp": 0, "weight": 1.0}]
