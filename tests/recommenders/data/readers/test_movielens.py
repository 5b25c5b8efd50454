from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.movielens import read_ml_100k
from tests.recommenders.data.readers.ml_files import INTERACTIONS, ITEMS, write_files

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_are_read_as_they_will_be_shown(tmp_path: Path) -> None:
    dataset = read_ml_100k(write_files(tmp_path))
    assert dataset.items.to_pydict() == {
        "item_id": ["1", "267", "1412", "543"],
        "title": [
            "Toy Story (1995)",
            "unkonwn",
            "Land Before Time III (1995)",
            "Misérables, Les (1995)",
        ],
        "category": [
            "Animation, Children's, Comedy",
            "",
            "Animation, Children's",
            "Drama, Musical",
        ],
        "description": ["", "", "", ""],
    }
    assert dataset.interactions.to_pydict() == {
        "user_id": ["196", "22", "196"],
        "item_id": ["543", "1", "1"],
        "timestamp": [881250949, 878887116, 881250940],
        "weight": [3.0, 1.0, 4.5],
    }
    assert "Harper" in dataset.info.licence


@pytest.mark.parametrize(
    ("items", "interactions", "message"),
    [
        (ITEMS.replace("class:", "genre:"), INTERACTIONS, r"\.item, line 1: no column class"),
        ("", INTERACTIONS, r"\.item, line 1: no column"),
        (ITEMS + "9\tAlone\n", INTERACTIONS, r"\.item, line 6: 2 values for 4 columns"),
        (ITEMS, INTERACTIONS + "1\t1\tfive\t1\n", r"\.inter, line 5: rating 'five'"),
        (ITEMS, INTERACTIONS + "1\t1\tnan\t1\n", r"\.inter, line 5: rating 'nan'"),
        (ITEMS, INTERACTIONS + "1\t1\t5\tnow\n", r"\.inter, line 5: timestamp 'now'"),
        (ITEMS, INTERACTIONS + "\n", r"\.inter, line 5: 1 values for 4 columns"),
        (ITEMS, INTERACTIONS + "1\t2\t5\t1\n", "row 3 has an item_id that is not among the items"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(
    tmp_path: Path, items: str, interactions: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_ml_100k(write_files(tmp_path, items=items, interactions=interactions))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    folder = write_files(tmp_path)
    with (folder / "ml-100k.item").open("ab") as file:
        file.write(b"5\tCaf\xe9\t1990\tDrama\n")
    with pytest.raises(DatasetError, match=r"\.item, line 6: not UTF-8"):
        read_ml_100k(folder)
