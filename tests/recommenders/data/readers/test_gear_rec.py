from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.gear_rec import read_gear_rec, read_profiles

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "user_map.txt": "7 0\n9 1\n",
    "item_map.txt": "1193 0\n1 1\n40 2\n",
    "train.txt": "0 2 0\n1 1\n",
    "test.txt": "0 1\n1\n",
    "movies_extended.csv": (
        "MovieID,Title,Genres,genres,title,overview,director,actors\n"
        "1,Toy Story (1995),Animation|Comedy,x,y,No overview found.,John Lasseter,Tom Hanks\n"
        "2,Unseen (1990),Drama,,,,,\n"
        '1193,Cuckoo (1975),Drama,x,y,"A ward,\n  a nurse.",Miloš Forman|B,A|Bo B|C\n'
        "40,Bare (1950),,,,,,\n"
    ),
    "llm_response_user.json": json.dumps({"0": "Likes films.", "1": "Likes few."}),
    "llm_response_item.json": json.dumps({"2": "A film."}),
}


def written(folder: Path, **changes: str) -> Path:
    changes = {name.replace("_dot_", "."): text for name, text in changes.items()}
    for name, text in {**FILES, **changes}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_rows_become_original_ids_and_texts_plain_words(tmp_path: Path) -> None:
    dataset = read_gear_rec(written(tmp_path))
    assert dataset.items.to_pylist() == [
        {
            "item_id": "1193",
            "title": "Cuckoo (1975)",
            "category": "Drama",
            "description": ("A ward, a nurse. Directed by Miloš Forman and B. With A, Bo B and C."),
        },
        {
            "item_id": "1",
            "title": "Toy Story (1995)",
            "category": "Animation, Comedy",
            "description": "Directed by John Lasseter. With Tom Hanks.",
        },
        {"item_id": "40", "title": "Bare (1950)", "category": "", "description": ""},
    ]
    assert dataset.interactions.to_pydict() == {
        "user_id": ["7", "7", "9", "7"],
        "item_id": ["40", "1193", "1", "1"],
        "timestamp": [0] * 4,
        "weight": [1.0] * 4,
        "part": ["train", "train", "train", "warm/test"],
    }
    assert "MIT" in dataset.info.licence
    assert "permission" in dataset.info.licence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_map_dot_txt": "7 0\n9 2\n"}, r"user_map\.txt, line 2: not an id and the row 1"),
        ({"user_map_dot_txt": "7 0 1\n"}, r"user_map\.txt, line 1: not an id"),
        ({"item_map_dot_txt": "a 0\n"}, r"item_map\.txt, line 1: 'a' is no whole number"),
        ({"train_dot_txt": "0 1\n2 1\n"}, r"train\.txt, line 2: .* a row of user_map\.txt"),
        ({"train_dot_txt": "0 1\n\n"}, r"train\.txt, line 2: does not begin with"),
        ({"test_dot_txt": "0 3\n"}, r"test\.txt, line 1: 3 is no row of item_map\.txt"),
        ({"test_dot_txt": "0 -1\n"}, r"test\.txt, line 1: '-1' is no whole number from 0"),
        (
            {"movies_extended_dot_csv": FILES["movies_extended.csv"].replace("\n40,", "\n41,")},
            r"movies_extended\.csv: no row for 40 of item_map\.txt",
        ),
        (
            {"movies_extended_dot_csv": FILES["movies_extended.csv"] + "5,Short\n"},
            r"movies_extended\.csv, line 7: 2 values for 8 columns",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_gear_rec(written(tmp_path, **changes))


def test_profiles_come_by_original_id(tmp_path: Path) -> None:
    written(tmp_path)
    users = read_profiles(tmp_path / "llm_response_user.json")
    assert users == {"7": "Likes films.", "9": "Likes few."}
    assert read_profiles(tmp_path / "llm_response_item.json") == {"40": "A film."}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ('{"0": "x", "2": "y"}', r"'2' is no row of user_map\.txt with a text"),
        ('{"0": " "}', "'0' is no row"),
        ('{"0": 1}', "'0' is no row"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = written(tmp_path, llm_response_user_dot_json=text)
    with pytest.raises(DatasetError, match=message):
        read_profiles(folder / "llm_response_user.json")


def test_profiles_of_another_name_have_no_map(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither llm_response_user\.json nor llm_response_i"):
        read_profiles(tmp_path / "profiles.json")
