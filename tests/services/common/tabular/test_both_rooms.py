"""A backfill and an import read the same files alike: what one takes, the other takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reclm_client import Item
from recommenders.data.dataset import DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import InteractionColumns
from recommenders.data.readers.generic import ItemColumns, read_generic
from tests.services.backfill.reading import SECOND, interactions, items, ndjson, write

if TYPE_CHECKING:
    from pathlib import Path

INFO = DatasetInfo(name="shop", source="a test", licence="none")
COLUMNS = InteractionColumns(time="timestamp")


def backfilled(path: Path) -> list[tuple[str, str, int]]:
    rows, bad = interactions(path)
    assert bad == []
    return [(user, item, time // SECOND) for user, item, time in rows]


def imported(path: Path) -> list[tuple[Any, ...]]:
    table = read_generic(INFO, path, interaction_columns=COLUMNS).interactions
    return [tuple(row.values())[:3] for row in table.to_pylist()]


ROWS = [("u", "a", 881250949), ("v", "b", 881250950)]
TEXT = "user_id,item_id,timestamp\nu,a,881250949\nv,b,881250950\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", TEXT),
        ("x.csv", TEXT.replace("949", "949.0").replace("950", "950.0")),
        ("x.csv", TEXT.replace("\nu", "\n\nu").replace("\nv", "\n\r\n\nv") + "\n\n"),
        ("x.csv", TEXT.replace("\n", "\r\n")),
        ("x.csv", "\ufeff" + TEXT),
        ("x.csv", TEXT.replace("u,a", '"u","a"')),
        ("x.tsv", TEXT.replace(",", "\t")),
        ("x.csv.gz", TEXT),
        (
            "x.ndjson",
            ndjson(*({"user_id": u, "item_id": i, "timestamp": float(t)} for u, i, t in ROWS)),
        ),
        (
            "x.jsonl",
            "\n"
            + ndjson(*({"user_id": u, "item_id": i, "timestamp": t} for u, i, t in ROWS))
            + "\n",
        ),
    ],
)
def test_text_files(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path / name, content)
    assert backfilled(path) == ROWS
    assert imported(path) == ROWS


@pytest.mark.parametrize("name", ["x.csv.zst", "x.ndjson.zst"])
def test_zstandard(tmp_path: Path, name: str) -> None:
    lines = (
        TEXT
        if "csv" in name
        else ndjson(*({"user_id": u, "item_id": i, "timestamp": t} for u, i, t in ROWS))
    )
    head, *rest = lines.splitlines(keepends=True)
    # Two frames one after the other, as parallel compressors write them.
    path = tmp_path / name
    path.write_bytes(frame(head) + frame("".join(rest)))
    assert backfilled(path) == ROWS
    assert imported(path) == ROWS
    path.write_bytes(frame(lines)[:-6])
    with pytest.raises(DatasetError, match=f"{name} cannot be read"):
        imported(path)


def frame(text: str) -> bytes:
    return bytes(memoryview(pa.Codec("zstd").compress(text.encode())))


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.string()),
    ],
)
def test_every_form_of_text_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    users, chosen, times = (list(map(str, column)) for column in zip(*ROWS, strict=True))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raw = [[value.encode() for value in column] for column in (users, chosen, times)]
        columns = [pa.array(column, kind) for column in raw]
    else:
        columns = [pa.array(column).cast(kind) for column in (users, chosen, times)]
    table = pa.table(columns, names=["user_id", "item_id", "timestamp"])
    pq.write_table(table, tmp_path / "x.parquet")
    assert pq.read_schema(tmp_path / "x.parquet").field("user_id").type == kind
    assert backfilled(tmp_path / "x.parquet") == ROWS
    assert imported(tmp_path / "x.parquet") == ROWS


@pytest.mark.parametrize(
    "times",
    [
        pa.array([881250949, 881250950], pa.int32()),
        pa.array([881250949, 881250950], pa.uint64()),
        pa.array([881250949.0, 881250950.0]),
        pa.array([881250949, 881250950]).dictionary_encode(),
        pa.array([881250949.0, 881250950.0]).dictionary_encode(),
        pa.array([881250949, 881250950], pa.timestamp("s", "UTC")),
        pa.array([881250949, 881250950]).cast(pa.decimal128(19, 0)),
    ],
)
def test_every_form_of_time_in_parquet(tmp_path: Path, times: pa.Array[Any]) -> None:
    table = pa.table({"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": times})
    pq.write_table(table, tmp_path / "x.parquet")
    assert backfilled(tmp_path / "x.parquet") == ROWS
    assert imported(tmp_path / "x.parquet") == ROWS


def test_a_folder_of_parts_of_several_formats(tmp_path: Path) -> None:
    (tmp_path / "in" / "day=1").mkdir(parents=True)
    (tmp_path / "in" / "_temporary").mkdir()
    (tmp_path / "in" / ".ipynb_checkpoints").mkdir()
    first, second = TEXT.splitlines(keepends=True)[1:]
    header = "user_id,item_id,timestamp\n"
    write(tmp_path / "in" / "a.csv.gz", header + first)
    write(tmp_path / "in" / "day=1" / "b.csv", header + second)
    for name in (".ipynb_checkpoints/copy.csv", "_temporary/part.csv", ".c.new.csv", "_d.csv"):
        write(tmp_path / "in" / name, TEXT)
    assert backfilled(tmp_path / "in") == ROWS
    assert imported(tmp_path / "in") == ROWS


QUOTES = 'item_id\ttitle\n1\t"Unclosed\n2\tThe "Best" film\n3\t"Crocodile" Dundee II\n4\tok\n'


def test_a_lone_quote_never_costs_another_row(tmp_path: Path) -> None:
    path = write(tmp_path / "items.tsv", QUOTES)
    good, bad = items(path)
    assert good == [Item("2", 'The "Best" film'), Item("4", "ok")]
    assert [(row.where, row.raw) for row in bad] == [
        ("items.tsv, line 2", '1\t"Unclosed'),
        ("items.tsv, line 4", '3\t"Crocodile" Dundee II'),
    ]
    choices = write(tmp_path / "choices.csv", "user_id,item_id,timestamp\nu,2,1\n")
    with pytest.raises(DatasetError, match=r"items\.tsv, line 2: not CSV"):
        read_generic(INFO, choices, path, item_columns=ItemColumns())
    write(path, QUOTES.replace('1\t"Unclosed\n', "").replace('3\t"Crocodile" Dundee II\n', ""))
    read = read_generic(INFO, choices, path, item_columns=ItemColumns())
    assert read.items["title"].to_pylist() == ['The "Best" film', "ok"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (",a,1", "user_id is empty"),
        ("u,a", "2 values for 3 columns"),
        ("u,a\x07,1", "item_id has a control character"),
        ("u,a,soon", "timestamp is 'soon', not seconds since 1970 or ISO 8601 within range"),
        ('"u,a,1', "not CSV: unexpected end of data"),
    ],
)
def test_a_bad_row_is_reported_in_the_same_words(tmp_path: Path, line: str, why: str) -> None:
    path = write(tmp_path / "x.csv", f"{TEXT}\n{line}\n")
    rows, bad = interactions(path)
    assert len(rows) == 2
    assert [(row.where, row.why, row.raw) for row in bad] == [("x.csv, line 5", why, line)]
    with pytest.raises(DatasetError) as refused:
        imported(path)
    assert str(refused.value) == f"{path}, line 5: {why}"
