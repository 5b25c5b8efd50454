from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.data.dataset import DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import InteractionColumns
from recommenders.data.readers.generic import ItemColumns, read_generic
from services.common.tabular import parquet

if TYPE_CHECKING:
    from pathlib import Path

INFO = DatasetInfo(name="shop", source="a test", licence="none")
CHOICES = "who,what,stars,when\n07,a,4.5,2024-05-01 10:00:00\n8,b,1,2024-05-02 10:00:00\n"
ITEMS = 'sku,name,kind,words\na,"Tent, large",Camping,"Sleeps\nfour."\nb,,,\n'
COLUMNS = InteractionColumns(user="who", item="what", time="when", weight="stars")
TEXTS = ItemColumns(item="sku", title="name", category="kind", description="words")
EXPECTED = {
    "user_id": ["07", "8"],
    "item_id": ["a", "b"],
    "timestamp": [1714557600, 1714644000],
    "weight": [4.5, 1.0],
}


def written(folder: Path, *, choices: str = CHOICES, items: str = ITEMS) -> tuple[Path, Path]:
    (folder / "choices.csv").write_text(choices)
    (folder / "items.csv").write_text(items)
    return folder / "choices.csv", folder / "items.csv"


def test_columns_are_taken_by_their_names(tmp_path: Path) -> None:
    dataset = read_generic(
        INFO, *written(tmp_path), interaction_columns=COLUMNS, item_columns=TEXTS
    )
    assert dataset.items.to_pydict() == {
        "item_id": ["a", "b"],
        "title": ["Tent, large", "b"],
        "category": ["Camping", ""],
        "description": ["Sleeps\nfour.", ""],
    }
    assert dataset.interactions.to_pydict() == EXPECTED


def test_tabs_and_gzip_are_told_by_the_name(tmp_path: Path) -> None:
    path = tmp_path / "choices.tsv.gz"
    path.write_bytes(gzip.compress(CHOICES.replace(",", "\t").encode()))
    dataset = read_generic(INFO, path, interaction_columns=COLUMNS)
    assert dataset.interactions.to_pydict() == EXPECTED
    assert dataset.items["title"].to_pylist() == ["a", "b"]


def test_parquet_has_types_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 1)
    columns: dict[str, Any] = {
        "who": ["07", "8"],
        "what": pa.array(["a", "b"]).dictionary_encode(),
        "stars": [4.5, 1.0],
        "when": [datetime(2024, 5, day, 10, tzinfo=UTC) for day in (1, 2)],
        "other": [None, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "choices.parquet")
    dataset = read_generic(INFO, tmp_path / "choices.parquet", interaction_columns=COLUMNS)
    assert dataset.interactions.to_pydict() == EXPECTED
    pq.write_table(pa.table({**columns, "who": ["07", None]}), tmp_path / "choices.parquet")
    with pytest.raises(DatasetError, match=r"choices\.parquet, row 1: who is null or missing"):
        read_generic(INFO, tmp_path / "choices.parquet", interaction_columns=COLUMNS)


def test_without_times_and_weights_they_are_0_and_1(tmp_path: Path) -> None:
    path, _ = written(tmp_path, choices="user_id,item_id\n5,9\n")
    assert read_generic(INFO, path).interactions.to_pylist() == [
        {"user_id": "5", "item_id": "9", "timestamp": 0, "weight": 1.0}
    ]


def test_a_time_unit_is_taken_at_its_word(tmp_path: Path) -> None:
    path, _ = written(tmp_path, choices="user_id,item_id,t\n5,9,1714557600123\n")
    columns = InteractionColumns(time="t", time_unit="ms")
    read = read_generic(INFO, path, interaction_columns=columns)
    assert read.interactions["timestamp"].to_pylist() == [1714557600]


@pytest.mark.parametrize(
    ("choices", "items", "message"),
    [
        ("who,what\n1,a\n", ITEMS, r"choices\.csv has no column 'when', 'stars'; it has who, what"),
        (CHOICES, "sku,name\na,Tent\n", r"items\.csv has no column 'kind', 'words'"),
        (CHOICES + "9,c,1,2024-05-02 10:00:00\n", ITEMS, r"choices\.csv, line 4: what 'c' is not"),
        (
            CHOICES + "9,a,?,2024-05-02 10:00:00\n",
            ITEMS,
            r"choices\.csv, line 4: stars is '\?', not a finite number",
        ),
        (
            CHOICES + "9,a,1,\n",
            ITEMS,
            r"choices\.csv, line 4: when is '', not seconds since 1970 or ISO 8601",
        ),
        (CHOICES, ITEMS + ",x,y,z\n", r"items\.csv, line 5: sku is empty"),
        (CHOICES, ITEMS + "c,x\n", r"items\.csv, line 5: 2 values for 4 columns"),
        (CHOICES, ITEMS + "a,x,y,z\n", "items: row 2 has item_id 'a' a second time"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, choices: str, items: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_generic(
            INFO,
            *written(tmp_path, choices=choices, items=items),
            interaction_columns=COLUMNS,
            item_columns=TEXTS,
        )


def test_files_that_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").touch()
    with pytest.raises(
        DatasetError, match=r"x\.xlsx is no file of a known format; names end in \.parquet, \.csv"
    ):
        read_generic(INFO, tmp_path / "x.xlsx")
    for name in ("x.parquet", "x.csv"):
        with pytest.raises(DatasetError, match=f"{name} is missing"):
            read_generic(INFO, tmp_path / name)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"x\.parquet cannot be read"):
        read_generic(INFO, tmp_path / "x.parquet")
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match=r"x\.parquet has no column 'item_id'; it has user_"):
        read_generic(INFO, tmp_path / "x.parquet")
