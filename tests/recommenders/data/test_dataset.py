from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.data.dataset import (
    INFO,
    INTERACTION_COLUMNS,
    INTERACTIONS,
    ITEM_COLUMNS,
    ITEMS,
    Dataset,
    DatasetInfo,
)
from recommenders.data.errors import DatasetError

DATASET = DatasetInfo(name="tiny", source="a test", licence="none", split="all of it")


def items(**changes: Any) -> pa.Table:
    ids = ["a", "b", "c"]
    columns = {
        "item_id": ids,
        "title": ["A", "B", "C"],
        "category": [""] * 3,
        "description": [""] * 3,
    }
    return pa.table(columns | changes)


def interactions(rows: list[tuple[Any, Any, Any, Any]] | None = None, **changes: Any) -> pa.Table:
    rows = [("u", "a", 1, 1.0)] if rows is None else rows
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    table = pa.table(columns, schema=pa.schema(INTERACTION_COLUMNS))
    for name, values in changes.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "tiny"
    written = Dataset(DATASET, items(year=[1, 2, 3]), interactions())
    written.write(folder)
    read = Dataset.read(folder)
    assert read.info == DATASET
    assert read.items.equals(written.items)
    assert read.items["year"].to_pylist() == [1, 2, 3]
    assert read.interactions.equals(written.interactions)
    assert names(folder) == [INFO, INTERACTIONS, ITEMS]
    assert names(folder.parent) == ["tiny"]


def test_only_a_dataset_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    folder, other = tmp_path / "tiny", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    dataset = Dataset(DATASET, items(), interactions())
    dataset.write(folder)  # an empty folder counts as missing
    with pytest.raises(DatasetError, match="holds a dataset already"):
        dataset.write(folder)
    with pytest.raises(DatasetError, match="other than a dataset"):
        dataset.write(other, replace=True)
    Dataset(DATASET, items(title=["X", "Y", "Z"]), interactions()).write(folder, replace=True)
    assert Dataset.read(folder).items["title"].to_pylist() == ["X", "Y", "Z"]
    assert names(tmp_path) == ["other", "tiny"]
    assert names(other) == ["thesis.txt"]


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset(DATASET, items(), interactions())
    dataset.write(tmp_path / "tiny")

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        dataset.write(tmp_path / "tiny", replace=True)
    with pytest.raises(OSError, match="no space"):
        dataset.write(tmp_path / "new")
    assert names(tmp_path) == ["tiny"]
    assert Dataset.read(tmp_path / "tiny").items.equals(dataset.items)


@pytest.mark.parametrize(
    ("item_table", "interaction_table", "message"),
    [
        (items().drop(["title"]), interactions(), "items have no column 'title'"),
        (items(item_id=["a", "b", "a"]), interactions(), "items: row 2 has item_id 'a' a second"),
        (items(item_id=["a", "", "c"]), interactions(), "items: row 1 has an empty item_id"),
        (items(title=["A", "", ""]), interactions(), r"items: row 1 has an empty title \(and 1 "),
        (items(category=["x", "y", None]), interactions(), "items: row 2 has no category"),
        (items(), interactions([("u", "z", 1, 1.0)]), "interactions: row 0 has an item_id that"),
        (items(), interactions([("", "a", 1, 1.0)]), "interactions: row 0 has an empty user_id"),
        (items(), interactions([("u", "a", None, 1.0)]), "interactions: row 0 has no timestamp"),
        (items(), interactions([("u", "a", 1, np.inf)]), "row 0 has a weight that is not a finite"),
        (items(), interactions(timestamp=["noon"]), "'timestamp' is string, not int64"),
        (items(), interactions(timestamp=[1.5]), "'timestamp' is double, not int64"),
    ],
)
def test_unsound_tables_are_refused(
    item_table: pa.Table, interaction_table: pa.Table, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        Dataset(DATASET, item_table, interaction_table)


def test_other_widths_of_the_same_types_are_taken() -> None:
    table = items().set_column(0, "item_id", pa.array(["a", "b", "c"], pa.large_string()))
    dataset = Dataset(DATASET, table, interactions(weight=pa.array([2], pa.int8())))
    assert dataset.items.schema == pa.schema(ITEM_COLUMNS)
    assert dataset.interactions.schema == pa.schema(INTERACTION_COLUMNS)


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    with pytest.raises(DatasetError, match="is not a folder"):
        Dataset.read(folder)
    Dataset(DATASET, items(), interactions()).write(folder)
    info = json.loads((folder / INFO).read_text())
    for document, message in [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        (json.dumps({"name": "x"}), "must be an object with"),
        (json.dumps(info | {"color": "red"}), "and no others"),
        (json.dumps(info | {"name": 3}), "name is 3, not a string"),
    ]:
        (folder / INFO).write_text(document)
        with pytest.raises(DatasetError, match=message):
            Dataset.read(folder)
    (folder / INFO).write_text(json.dumps(info))
    pq.write_table(items(title=["", "B", "C"]), folder / ITEMS)
    with pytest.raises(DatasetError, match=r"tiny: items: row 0 has an empty title"):
        Dataset.read(folder)
    (folder / ITEMS).write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"items\.parquet cannot be read"):
        Dataset.read(folder)
    (folder / ITEMS).unlink()
    with pytest.raises(DatasetError, match=r"items\.parquet is missing"):
        Dataset.read(folder)


HISTORY = [
    ("v", "c", 30, 5.0),
    ("u", "b", 20, 4.0),
    ("u", "c", 10, 1.0),
    ("v", "a", 30, 3.0),
    ("u", "a", 20, 4.0),
    ("v", "b", 5, 2.0),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"v": ["b", "c", "a"], "u": ["c", "b", "a"]}),
        ({"min_weight": 4.0}, {"v": ["c"], "u": ["b", "a"]}),
        ({"up_to": 20}, {"u": ["c", "b", "a"], "v": ["b"]}),
        ({"up_to": 19, "min_weight": 2}, {"v": ["b"]}),
        ({"up_to": 4}, {}),
    ],
)
def test_histories_run_from_old_to_new(options: Any, expected: dict[str, list[str]]) -> None:
    dataset = Dataset(DATASET, items(), interactions(HISTORY))
    histories = dataset.histories(**options)
    assert histories == expected
    assert list(histories) == list(expected)


def test_histories_do_not_depend_on_how_the_table_is_chunked() -> None:
    whole = interactions(HISTORY)
    pieces = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 3), whole.slice(5)])
    assert (
        Dataset(DATASET, items(), pieces).histories()
        == Dataset(DATASET, items(), whole).histories()
    )


def test_no_interactions_no_histories() -> None:
    assert Dataset(DATASET, items(), interactions([])).histories() == {}
