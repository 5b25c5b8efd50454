"""Columns turned into ids, numbers and times, and what is said of values that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import Block, InteractionColumns, interactions_table
from services.common.tabular import blocks
from services.common.tabular.blocks import BadRow, SourceRow
from services.common.tabular.rules import python_values

if TYPE_CHECKING:
    from services.common.tabular.rules import Column, TimeUnit


def of(columns: dict[str, Column], *bad: BadRow) -> Block:
    def row(index: int) -> SourceRow:
        values = {name: python_values(column)[index] for name, column in columns.items()}
        return SourceRow(f"file, line {index + 5}", "", values)

    size = len(next(iter(columns.values())))
    return Block(blocks.Block(Path("file"), size, columns, row, list(bad)))


def block(*values: Any, kind: pa.DataType | None = None) -> Block:
    return of({"x": pa.array(values, kind)})


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
        (block(1.5, 2.0), "texts", "file: column 'x' is double, not text or integers"),
        (block("a", ""), "ids", "file, line 6: x is empty"),
        (block("a", None), "ids", "file, line 6: x is null or missing, not a string or an integer"),
        (block("a", "b\n"), "ids", "file, line 6: x has a control character"),
        (block("a" * 257), "ids", "file, line 5: x has 257 characters; 256 are the most"),
        (block(b"0x10"), "times", "file, line 5: x is '0x10', not seconds since 1970 or ISO 8601"),
        (block("1", ""), "times", "file, line 6: x is '', not seconds since 1970"),
        (block(1, None), "times", "file, line 6: x is null or missing, not seconds since 1970"),
        (block("inf"), "times", "file, line 5: x is 'inf', not seconds since 1970"),
        (block("1", "inf"), "numbers", "file, line 6: x is 'inf', not a finite number"),
        (block(1.0, float("nan")), "numbers", "file, line 6: x is nan, not a finite number"),
        (block("good"), "numbers", "file, line 5: x is 'good', not a finite number"),
        (block("1715000000123"), "times", "line 5: x 1715000000123 is no time .* milliseconds"),
        (block("2024-05-01", "May"), "times", "line 6: x is 'May', not seconds since 1970 or ISO"),
        (block("2024-05-01 10:00", "17150x"), "times", "line 6: x is '17150x', not seconds"),
        (block(datetime(2024, 5, 1), None), "times", "line 6: x is null or missing"),
    ],
)
def test_a_value_that_is_none_is_named(column: Block, method: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        getattr(column, method)("x")


def test_a_text_that_must_not_be_empty_is_named() -> None:
    assert block("a", "b").texts("x", empty=False).to_pylist() == ["a", "b"]
    with pytest.raises(DatasetError, match="file, line 6: x is empty"):
        block("a", "").texts("x", empty=False)


def test_a_line_that_is_no_row_is_named() -> None:
    with pytest.raises(DatasetError, match="file, line 9: 3 values for 2 columns"):
        of({"x": pa.array(["a"])}, BadRow(None, "file, line 9", "3 values for 2 columns", "a,b,c"))


def test_ids_that_are_not_known_are_named() -> None:
    with pytest.raises(DatasetError, match="file, line 6: x 'b' is not among the items"):
        block("a", "b").ids("x", known=pa.array(["a"]))


@pytest.mark.parametrize(
    ("column", "unit", "expected"),
    [
        (block(b"1714557600", b"-1"), "s", [1714557600, -1]),
        (block(1714557600.0), "s", [1714557600]),
        (block(1.5, -0.5), "s", [1, -1]),
        (block(b"0.0", b"2.5"), "s", [0, 2]),
        (block("2024-05-01 10:00", "1715000000"), "s", [1714557600, 1715000000]),
        (block("881250949.0", "881250950"), "s", [881250949, 881250950]),
        (block(1714557600999.0), "ms", [1714557600]),
        (of({"x": [881250949.0, "881250950.0", 7]}), "s", [881250949, 881250950, 7]),
        (of({"x": ["2024-05-01T10:00:00Z", "2024-05-01 10:00"]}), "s", [1714557600] * 2),
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
    columns: dict[str, Column] = {"u": pa.array(["a"]), "i": pa.array([3])}
    table = interactions_table([of(columns)], InteractionColumns(user="u", item="i"), None)
    assert table.to_pylist() == [{"user_id": "a", "item_id": "3", "timestamp": 0, "weight": 1.0}]
