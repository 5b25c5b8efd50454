"""Rows that cannot be read cost only themselves, and are reported with file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reclm_client import Item
from services.backfill.inputs.readers import read_items
from services.common.tabular.blocks import BadRow
from tests.services.backfill.reading import SECOND, interactions, items, ndjson, positions, write

if TYPE_CHECKING:
    from pathlib import Path


def test_bad_rows_of_csv_cost_only_themselves(tmp_path: Path) -> None:
    long = "x" * 257
    lines = [
        b"user_id,item_id,timestamp,weight",
        b"u1,a,1,1",
        b",a,1,1",
        b"u3,a\x07b,1,1",
        long.encode() + b",a,1,1",
        b"u5,\xff,1,1",
        b"u6,a,soon,1",
        b"u7,a,nan,1",
        b"u8,a,1",
        b"u9,a,1,1,1",
        b'u10,"a"b,1,1',
        b"u11,a,1,NaN",
        b"u12,a,1,heavy",
        b"u13,a,1e300,1",
        b"u14,a,1,0.5",
        b'u15,"a",1,2',
        b'"u16,a,1,1',
        b"u17,a,1,1",
    ]
    path = write(tmp_path / "x.csv", b"\n".join(lines))
    rows, bad = interactions(path, min_weight=1)
    assert [user for user, _, _ in rows] == ["u1", "u15", "u17"]
    assert sorted(positions(bad), key=lambda place: int(place[1].split()[-1])) == [
        (None, "x.csv, line 3", "user_id is empty"),
        ("u3", "x.csv, line 4", "item_id has a control character"),
        (None, "x.csv, line 5", "user_id has 257 characters; 256 are the most"),
        ("u5", "x.csv, line 6", "item_id is not UTF-8"),
        (
            "u6",
            "x.csv, line 7",
            "timestamp is 'soon', not seconds since 1970 or ISO 8601 within range",
        ),
        (
            "u7",
            "x.csv, line 8",
            "timestamp is 'nan', not seconds since 1970 or ISO 8601 within range",
        ),
        (None, "x.csv, line 9", "3 values for 4 columns"),
        (None, "x.csv, line 10", "5 values for 4 columns"),
        (None, "x.csv, line 11", "not CSV: ',' expected after '\"'"),
        ("u11", "x.csv, line 12", "weight is 'NaN', not a finite number"),
        ("u12", "x.csv, line 13", "weight is 'heavy', not a finite number"),
        (
            "u13",
            "x.csv, line 14",
            "timestamp is '1e300', not seconds since 1970 or ISO 8601 within range",
        ),
        (None, "x.csv, line 17", "not CSV: unexpected end of data"),
    ]
    assert {row.where: row.raw for row in bad}["x.csv, line 9"] == "u8,a,1"
    assert {row.where: row.raw for row in bad}["x.csv, line 6"] == "u5,�,1,1"
    assert {row.where: row.raw for row in bad}["x.csv, line 17"] == '"u16,a,1,1'


def test_weights_are_not_looked_at_unasked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "user_id,item_id,weight\nu,a,none\nv,b,2\n")
    assert interactions(path) == ([("u", "a", 0), ("v", "b", 0)], [])


@pytest.mark.parametrize("quoted", [False, True])
def test_lines_are_right_behind_quoted_line_feeds(tmp_path: Path, quoted: bool) -> None:
    description = 'two\nlines, ""quoted""' if quoted else "one line"
    rows = [f'{n},t{n},c,"{description}"\r\n' for n in range(50)]
    path = write(
        tmp_path / "x.csv",
        "item_id,title,category,description\r\n" + "".join(rows) + '"",t,c,d\r\n',
    )
    good, bad = items(path)
    assert good == [Item(str(n), f"t{n}", "c", description.replace('""', '"')) for n in range(50)]
    line = 2 + 50 * (2 if quoted else 1)
    assert bad == [BadRow(None, f"x.csv, line {line}", "item_id is empty", '"",t,c,d')]


@pytest.mark.parametrize(
    ("row", "id_", "why"),
    [
        (
            '{"user_id": ["u"], "item_id": "a"}',
            None,
            "user_id is a list, not a string or an integer",
        ),
        (
            '{"user_id": {}, "item_id": "a"}',
            None,
            "user_id is an object, not a string or an integer",
        ),
        (
            '{"user_id": true, "item_id": "a"}',
            None,
            "user_id is a truth value, not a string or an integer",
        ),
        (
            '{"user_id": null, "item_id": "a"}',
            None,
            "user_id is null or missing, not a string or an integer",
        ),
        ('{"user_id": "u"}', "u", "item_id is null or missing, not a string or an integer"),
        ('{"user_id": "u", "item_id": 1.5}', "u", "item_id is 1.5, not a string or an integer"),
        ('{"user_id": "u", "item_id": "\\u0085"}', "u", "item_id has a control character"),
        (
            '{"user_id": "u", "item_id": "a", "timestamp": 1}',
            "u",
            "has a timestamp, and the first row of the file has none",
        ),
        ("[1]", None, "not a JSON object"),
        ("{", None, "not JSON: EOF while parsing an object at line 1 column 1"),
        (
            f'{{"user_id": {"9" * 300}, "item_id": "a"}}',
            None,
            "user_id has 300 characters; 256 are the most",
        ),
    ],
)
def test_bad_rows_of_ndjson(tmp_path: Path, row: str, id_: str | None, why: str) -> None:
    good = '{"user_id": "u", "item_id": "a"}'
    path = write(tmp_path / "x.ndjson", f"{good}\n{row}\n{good}\n")
    rows, bad = interactions(path)
    assert rows == [("u", "a", 0)] * 2
    assert bad == [BadRow(id_, "x.ndjson, line 2", why, row)]


@pytest.mark.parametrize(
    "time", ["null", '"soon"', "[]", "true", "NaN", "1e99", "9" * 30, '"0x10"']
)
def test_bad_times_of_ndjson(tmp_path: Path, time: str) -> None:
    lines = [
        f'{{"user_id": "u", "item_id": "a", "timestamp": {value}}}' for value in ("1", time, "2")
    ]
    rows, bad = interactions(write(tmp_path / "x.ndjson", "\n".join(lines)))
    assert rows == [("u", "a", SECOND), ("u", "a", 2 * SECOND)]
    assert [(row.id, row.where, row.raw) for row in bad] == [("u", "x.ndjson, line 2", lines[1])]
    assert bad[0].why.startswith("timestamp is ")


def test_ndjson_that_is_not_utf_8(tmp_path: Path) -> None:
    good = b'{"user_id": "u", "item_id": "a"}\n'
    rows, bad = interactions(
        write(tmp_path / "x.ndjson", good + good.replace(b"a", b"\xff", 1) + good)
    )
    assert len(rows) == 2
    assert [row.where for row in bad] == ["x.ndjson, line 2"]


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    raw = pa.array([b"u", b"\xff", b"w"], pa.binary())
    broken = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    table = pa.table(
        {
            "user_id": pa.concat_arrays([broken, pa.array(["x", None, "z"])]),
            "item_id": ["a", "b", "", "d", "e", "f"],
            "timestamp": [1.0, 2.0, 3.0, np.nan, 5.0, 6.0],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    rows, bad = interactions(tmp_path / "x.parquet")
    assert rows == [("u", "a", SECOND), ("z", "f", 6 * SECOND)]
    assert positions(bad) == [
        (None, "x.parquet, row 1", "user_id is not UTF-8"),
        ("w", "x.parquet, row 2", "item_id is empty"),
        (
            "x",
            "x.parquet, row 3",
            "timestamp is nan, not seconds since 1970 or ISO 8601 within range",
        ),
        (None, "x.parquet, row 4", "user_id is null or missing, not a string or an integer"),
    ]
    assert bad[1].raw == '{"user_id": "w", "item_id": "", "timestamp": 3.0}'


def test_bad_items(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.ndjson",
        ndjson(
            {"item_id": 1, "title": 1917, "category": None},
            {"item_id": 2, "title": ["t"]},
            {"item_id": 3, "title": "", "description": "d"},
            {"item_id": "", "title": "t"},
            {"item_id": 1, "title": "again", "category": {}},
            {"item_id": 1, "title": "again"},
        ),
    )
    good, bad = items(path)
    assert good == [Item("1", "1917"), Item("3", "", "", "d"), Item("1", "again")]
    assert positions(bad) == [
        ("2", "x.ndjson, line 2", "title is a list, not a string"),
        (None, "x.ndjson, line 4", "item_id is empty"),
        ("1", "x.ndjson, line 5", "category is an object, not a string"),
    ]


@pytest.mark.parametrize("name", ["x.ndjson", "x.csv", "x.csv.gz"])
def test_lines_that_are_too_long(tmp_path: Path, name: str) -> None:
    huge = "x" * (17 * 1024 * 1024)
    if "csv" in name:
        text = f"item_id,title\n1,a\n2,{huge}\n3,b\n4,{huge}{huge}\n5,c\n"
    else:
        rows = [(1, "a"), (2, huge), (3, "b"), (4, huge + huge), (5, "c")]
        text = ndjson(*({"item_id": id_, "title": title} for id_, title in rows))
    good, bad = items(write(tmp_path / name, text))
    assert good == [Item("1", "a"), Item("3", "b"), Item("5", "c")]
    first = 3 if "csv" in name else 2
    assert [row.where for row in bad] == [f"{name}, line {first}", f"{name}, line {first + 2}"]
    assert all(len(row.raw or "") == 2_000 for row in bad)


def test_an_unclosed_quote_costs_its_line(tmp_path: Path) -> None:
    good = "".join(f"{n},{'t' * 200}\n" for n in range(100_000))
    path = write(tmp_path / "x.csv", 'item_id,title\n1,"t\n' + good)
    count = 0
    bad: list[BadRow] = []
    for block in read_items(path):
        bad += [entry for entry in block if isinstance(entry, BadRow)]
        count += len(block)
    assert [(row.where, row.raw) for row in bad] == [("x.csv, line 2", '1,"t')]
    assert count == 100_001
