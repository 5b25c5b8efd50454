from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backfill.errors import BackfillError
from services.backfill.inputs import files as inputs_files
from services.backfill.inputs.histories import read_histories
from services.backfill.inputs.interactions import read_interactions
from services.backfill.inputs.readers import Inputs, fingerprint, read_items
from services.backfill.rows import BadRow
from services.client import Item

SECOND = 1_000_000

Read = tuple[list[tuple[str, str, int]], list[BadRow]]


def interactions(path: Path, min_weight: float | None = None) -> Read:
    rows: list[tuple[str, str, int]] = []
    bad: list[BadRow] = []
    for block in read_interactions(path, min_weight=min_weight):
        users = block.users.take(block.user_codes).to_pylist()
        rows += zip(users, block.items.to_pylist(), block.times.tolist(), strict=True)
        bad += block.bad
    return rows, bad


def items(path: Path) -> tuple[list[Item], list[BadRow]]:
    entries = [entry for block in read_items(path) for entry in block]
    return (
        [entry for entry in entries if isinstance(entry, Item)],
        [entry for entry in entries if isinstance(entry, BadRow)],
    )


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)
    return path


def ndjson(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def places(bad: list[BadRow]) -> list[tuple[str | None, str, str]]:
    return [(row.id, row.where, row.why) for row in bad]


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "X.CSV", "x.tsv", "x.tsv.gz"])
def test_csv(tmp_path: Path, name: str) -> None:
    text = (
        'extra,item_id,user_id,timestamp\n,i1,u1,7\n"a ""b"", c",i2,"u1",8.5\r\n\n"1\n2",i3,u2,-1'
    )
    path = write(tmp_path / name, text if "csv" in name.lower() else text.replace(",", "\t"))
    assert interactions(path) == (
        [("u1", "i1", 7 * SECOND), ("u1", "i2", 8_500_000), ("u2", "i3", -SECOND)],
        [],
    )


@pytest.mark.parametrize("name", ["x.ndjson", "x.jsonl", "x.ndjson.gz", "x.jsonl.gz"])
def test_ndjson(tmp_path: Path, name: str) -> None:
    first = {"user_id": "u1", "item_id": 5, "timestamp": 7, "more": [1]}
    text = ndjson(first, {**first, "timestamp": "1970-01-01T00:00:08.5Z"}) + "\n  \n"
    path = write(tmp_path / name, text + ndjson({**first, "user_id": 2}).strip())
    assert interactions(path) == (
        [("u1", "5", 7 * SECOND), ("u1", "5", 8_500_000), ("2", "5", 7 * SECOND)],
        [],
    )


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        (pa.array([7, 8], pa.int32()), [7 * SECOND, 8 * SECOND]),
        (pa.array([7, 8], pa.uint64()), [7 * SECOND, 8 * SECOND]),
        (pa.array([7.25, -8.0]), [7_250_000, -8 * SECOND]),
        (pa.array([7000, 8000], pa.timestamp("ms")), [7 * SECOND, 8 * SECOND]),
        (pa.array([7 * 10**9 + 1, 0], pa.timestamp("ns", "Asia/Tokyo")), [7 * SECOND, 0]),
        (pa.array([date(1970, 1, 2), date(1969, 12, 31)]), [86_400 * SECOND, -86_400 * SECOND]),
        (pa.array(["7", "8"]), [7 * SECOND, 8 * SECOND]),
        (pa.array(["7.5", "8"]), [7_500_000, 8 * SECOND]),
        (pa.array(["1970-01-01 00:00:07", "1970-01-02"]), [7 * SECOND, 86_400 * SECOND]),
        (
            pa.array(["1970-01-01T00:00:07+00:00", "1970-01-01T01:00:08+01:00"]),
            [7_000_000, 8_000_000],
        ),
        (
            pa.array(["1970-01-01T00:00:07Z", "1970-01-01T00:00:08", "9"]),
            [7_000_000, 8_000_000, 9_000_000],
        ),
    ],
)
def test_times(tmp_path: Path, times: pa.Array[Any], wanted: list[int]) -> None:
    table = pa.table(
        {"user_id": ["u"] * len(times), "item_id": ["i"] * len(times), "timestamp": times}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    rows, bad = interactions(tmp_path / "x.parquet")
    assert ([time for _, _, time in rows], bad) == (wanted, [])


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1, 22], pa.int8()),
        pa.array([1, 22], pa.uint64()),
        pa.array(["1", "22"], pa.large_string()),
        pa.array(["1", "22"], pa.string_view()),
        pa.array([b"1", b"22"], pa.binary()),
        pa.array(["1", "22"]).dictionary_encode(),
    ],
)
def test_parquet_ids(tmp_path: Path, ids: pa.Array[Any]) -> None:
    pq.write_table(
        pa.table({"user_id": ids, "item_id": ids, "x": [[1], []]}), tmp_path / "x.parquet"
    )
    assert interactions(tmp_path / "x.parquet") == ([("1", "1", 0), ("22", "22", 0)], [])
    pq.write_table(
        pa.table({"item_id": ids, "title": ids, "category": pa.nulls(2)}), tmp_path / "x.parquet"
    )
    assert items(tmp_path / "x.parquet") == ([Item("1", "1"), Item("22", "22")], [])


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
    assert sorted(places(bad), key=lambda place: int(place[1].split()[-1])) == [
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
    assert places(bad) == [
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
    assert places(bad) == [
        ("2", "x.ndjson, line 2", "title is a list, not a string"),
        (None, "x.ndjson, line 4", "item_id is empty"),
        ("1", "x.ndjson, line 5", "category is an object, not a string"),
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(st.integers(0, 9), TEXT, TEXT), min_size=1, max_size=20))
def test_formats_are_equal(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    columns = {
        name: list(values)
        for name, values in zip(
            ("item_id", "title", "category"), zip(*rows, strict=True), strict=True
        )
    }
    pq.write_table(pa.table(columns), folder / "x.parquet")
    write(folder / "x.ndjson", ndjson(*(dict(zip(columns, row, strict=True)) for row in rows)))
    cells = [[str(value).replace('"', '""') for value in row] for row in rows]
    lines = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells)
    write(folder / "x.csv", "item_id,title,category\n" + lines)
    wanted = [Item(str(id_), title, category) for id_, title, category in rows]
    for name in ("x.parquet", "x.ndjson", "x.csv"):
        assert items(folder / name) == (wanted, [])


@given(st.lists(st.text('ab,"\n\r', max_size=12), max_size=12), st.integers(1, 40))
def test_csv_in_blocks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], block: int
) -> None:
    """What is malformed is read the same wherever the blocks end, and costs no good line."""
    folder = tmp_path_factory.mktemp("blocks")
    body = "\n".join([*lines, "u,i", ""])
    path = write(folder / "x.csv", "user_id,item_id\n" + body)
    whole = interactions(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs_files, "BLOCK", block)
        rows, bad = interactions(path)
    assert rows == whole[0]
    assert sorted(places(bad), key=str) == sorted(places(whole[1]), key=str)
    # The last line may belong to a field that was opened before it, and to nothing else.
    assert ("u", "i", 0) in rows or '"' in body


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


@pytest.mark.parametrize("name", ["x.ndjson", "x.csv", "x.tsv", "x.parquet"])
def test_a_title_of_a_megabyte(tmp_path: Path, name: str) -> None:
    rows = [("1", "a"), ("2", "é\n" * 500_000), ("3", "b" * 1_500_000), ("4", "d")]
    path = tmp_path / name
    if name == "x.parquet":
        pq.write_table(
            pa.table({"item_id": [i for i, _ in rows], "title": [t for _, t in rows]}), path
        )
    elif name == "x.ndjson":
        write(path, ndjson(*({"item_id": id_, "title": title} for id_, title in rows)))
    else:
        mark = "," if name == "x.csv" else "\t"
        write(path, f"item_id{mark}title\n" + "".join(f'{i}{mark}"{t}"\n' for i, t in rows))
    assert items(path) == ([Item(*row) for row in rows], [])


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


def test_a_folder_is_all_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    write(tmp_path / "in" / "b" / "x.csv", "user_id,item_id\nu3,\n")
    write(tmp_path / "in" / "c.jsonl", ndjson({"user_id": "u4", "item_id": "a"}))
    write(tmp_path / "in" / "a.tsv", "user_id\titem_id\nu1\ta\nu2\ta\n")
    write(tmp_path / "in" / "_SUCCESS", "")
    rows, bad = interactions(tmp_path / "in")
    assert [user for user, _, _ in rows] == ["u1", "u2", "u4"]
    assert places(bad) == [("u3", "b/x.csv, line 2", "item_id is empty")]


def test_histories(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "history": ["a", 2, {"title": "T", "id": None}], "error": "was busy"},
        {"id": "u", "history": []},
        {"id": "u", "history": "a"},
        {"id": "u", "history": ["a", None]},
        {"id": "u", "history": [{"id": "x"}]},
        {"id": "u", "history": [{"title": "t", "description": 1.5}]},
        {"history": []},
    ]
    path = write(tmp_path / "x.ndjson", ndjson(*rows))
    found = list(read_histories(path))
    assert [line.id for lines, _ in found for line in lines] == ["1", "u"]
    assert [(row.where, row.why) for _, bad in found for row in bad] == [
        ("x.ndjson, line 3", "history is 'a', not a list of ids and items"),
        ("x.ndjson, line 4", "history[1] is null or missing, not a string or an integer"),
        ("x.ndjson, line 5", "history[0] has no title"),
        ("x.ndjson, line 6", "history[0].description is 1.5, not a string"),
        ("x.ndjson, line 7", "id is null or missing, not a string or an integer"),
    ]
    with pytest.raises(BackfillError, match=r"histories come as \.ndjson"):
        list(read_histories(write(tmp_path / "x.csv", "id,history\n")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "no known format"),
        ("x.csv", b"", "does not begin with a line that names the columns"),
        ("x.csv", b"user_id,item\nu,a\n", "no column 'item_id'; it has user_id, item"),
        ("x.csv", b"user_id,item_id,user_id\n", "'user_id' more than once"),
        ("x.csv.gz", b"user_id,item_id\n", "cannot be read: Not a gzipped file"),
        (
            "x.csv.gz",
            gzip.compress(b"user_id,item_id\n" + os.urandom(1000))[:200],
            "cannot be read",
        ),
        ("x.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BackfillError, match=message):
        interactions(tmp_path / name)


@pytest.mark.parametrize(
    "column", [pa.array([[1]]), pa.array([True]), pa.array([1.0]), pa.array([{"a": 1}])]
)
def test_parquet_columns_of_no_use(tmp_path: Path, column: pa.Array[Any]) -> None:
    pq.write_table(pa.table({"user_id": column, "item_id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(BackfillError, match=r"column 'user_id' is .*, not text or integers"):
        interactions(tmp_path / "x.parquet")


def test_inputs_that_are_not_there_or_disagree(tmp_path: Path) -> None:
    with pytest.raises(BackfillError, match="is not there"):
        interactions(tmp_path / "x.csv")
    with pytest.raises(BackfillError, match="holds no"):
        interactions(tmp_path)
    write(tmp_path / "a.csv", "user_id,item_id\nu,a\n")
    with pytest.raises(BackfillError, match="no column 'weight' for min_weight"):
        interactions(tmp_path, min_weight=1)
    write(tmp_path / "b.csv", "user_id,item_id,timestamp\nu,a,1\n")
    with pytest.raises(BackfillError, match=r"a\.csv has no timestamps and b\.csv has some"):
        interactions(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "user"},
        {"kind": "user", "interactions": Path("a"), "histories": Path("b")},
        {"kind": "item"},
        {"kind": "item", "interactions": Path("a"), "items": Path("b")},
        {"kind": "group", "items": Path("b")},
        {"kind": "item", "items": Path("b"), "min_weight": 1.0},
        {"kind": "user", "interactions": Path("a"), "min_weight": float("nan")},
    ],
)
def test_inputs_that_do_not_fit_each_other(options: dict[str, Any]) -> None:
    with pytest.raises(BackfillError):
        Inputs(**options)


def test_fingerprint(tmp_path: Path) -> None:
    def taken(**options: object) -> str:
        return fingerprint([tmp_path / "in"], options)

    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "x.csv", "a")
    first = taken(k=1)
    assert len(first) == 32
    assert first == taken(k=1) != taken(k=2)
    (tmp_path / "in").rename(tmp_path / "moved")
    assert fingerprint([tmp_path / "moved"], {"k": 1}) == first
    (tmp_path / "moved").rename(tmp_path / "in")
    os.utime(path, ns=(0, 5))
    assert (second := taken(k=1)) != first
    path.rename(path.with_name("y.csv"))
    assert taken(k=1) not in {first, second}


def test_a_moment_of_python_is_taken_too() -> None:
    from services.backfill.inputs.values import microseconds_of

    assert microseconds_of(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == SECOND
