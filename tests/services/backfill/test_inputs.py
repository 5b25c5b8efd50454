"""The inputs of a backfill as a whole: histories, what does not fit, and the fingerprint."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.backfill.errors import BackfillError
from services.backfill.inputs.histories import read_histories
from services.backfill.inputs.readers import Inputs, fingerprint
from tests.services.backfill.reading import interactions, ndjson, write


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
    with pytest.raises(BackfillError, match=r"histories are \.ndjson"):
        list(read_histories(write(tmp_path / "x.csv", "id,history\n")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "no file of a known format"),
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
    with pytest.raises(BackfillError, match="is missing"):
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
