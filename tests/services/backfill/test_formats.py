"""CSV, JSON lines and Parquet say the same."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclm_client import Item
from services.common.tabular import files as inputs_files
from tests.services.backfill.reading import SECOND, interactions, items, ndjson, positions, write

if TYPE_CHECKING:
    from pathlib import Path


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
    assert sorted(positions(bad), key=str) == sorted(positions(whole[1]), key=str)
    # The last line may belong to a field that was opened before it, and to nothing else.
    assert ("u", "i", 0) in rows or '"' in body


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


def test_a_folder_is_all_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    write(tmp_path / "in" / "b" / "x.csv", "user_id,item_id\nu3,\n")
    write(tmp_path / "in" / "c.jsonl", ndjson({"user_id": "u4", "item_id": "a"}))
    write(tmp_path / "in" / "a.tsv", "user_id\titem_id\nu1\ta\nu2\ta\n")
    write(tmp_path / "in" / "_SUCCESS", "")
    rows, bad = interactions(tmp_path / "in")
    assert [user for user, _, _ in rows] == ["u1", "u2", "u4"]
    assert positions(bad) == [("u3", "b/x.csv, line 2", "item_id is empty")]


def test_a_moment_of_python_is_taken_too() -> None:
    from services.common.tabular.rules import time_rule

    assert time_rule().value(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == SECOND
