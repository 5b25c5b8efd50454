from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.games import read_games

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = 'item_id:token\ttitle:token_seq\n0\tFire Emblem\n1\tWii &amp; "U"\n2\tNightshade\n'
CHOICES = "user_id:token\titem_id_list:token_seq\titem_id:token\nu\t2 0 2\t1\nv\t1\t0\n"


def written(folder: Path, *, items: str = ITEMS, choices: str = CHOICES) -> Path:
    (folder / "Games-6k.item").write_text(items)
    (folder / "Games-6k.test.inter").write_text(choices)
    return folder


def test_the_order_is_the_clock_and_the_last_item_the_test(tmp_path: Path) -> None:
    dataset = read_games(written(tmp_path))
    assert dataset.items["title"].to_pylist() == ["Fire Emblem", 'Wii & "U"', "Nightshade"]
    assert dataset.interactions.to_pydict() == {
        "user_id": ["u", "u", "u", "v", "u", "v"],
        "item_id": ["2", "0", "2", "1", "1", "0"],
        "timestamp": [0, 1, 2, 0, 3, 1],
        "weight": [1.0] * 6,
        "part": ["train"] * 4 + ["warm/test"] * 2,
    }
    assert dataset.histories() == {"u": ["2", "0", "2", "1"], "v": ["1", "0"]}


@pytest.mark.parametrize(
    ("items", "choices", "message"),
    [
        (ITEMS + "3\t\n", CHOICES, r"\.item, line 5: title is empty"),
        (ITEMS, CHOICES + "w\t0 9 8\t1\n", r"\.inter, line 4: '9' is not among the items"),
        (ITEMS, CHOICES + "w\t0  1\t1\n", r"\.inter, line 4: '' is not among the items"),
        (ITEMS, CHOICES + "w\t\t1\n", r"\.inter, line 4: item_id_list is empty"),
        (ITEMS, CHOICES + "w\t0\t9\n", r"\.inter, line 4: item_id '9' is not among the items"),
        (ITEMS, CHOICES + "w\t0\n", r"\.inter, line 4: 2 values for 3 columns"),
        (ITEMS, "user_id:token\titem_id:token\n", "has no column 'item_id_list'; it has user_i"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, items: str, choices: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_games(written(tmp_path, items=items, choices=choices))


def test_nobody_chose_anything(tmp_path: Path) -> None:
    dataset = read_games(written(tmp_path, choices=CHOICES.splitlines(keepends=True)[0]))
    assert dataset.interactions.num_rows == 0
    assert "part" in dataset.interactions.column_names
