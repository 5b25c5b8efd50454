from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.movielens import read_ml_1m, read_ml_100k, read_ml_latest
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
        (ITEMS.replace("class:", "genre:"), INTERACTIONS, r"\.item has no column 'class'"),
        ("", INTERACTIONS, r"\.item does not begin with a line that names the columns"),
        (ITEMS + "9\tAlone\n", INTERACTIONS, r"\.item, line 6: 2 values for 4 columns"),
        (ITEMS, INTERACTIONS + "1\t1\tfive\t1\n", r"\.inter, line 5: rating is 'five'"),
        (
            ITEMS,
            INTERACTIONS + "1\t1\tnan\t1\n",
            r"\.inter, line 5: rating is 'nan', not a finite number",
        ),
        (ITEMS, INTERACTIONS + "1\t1\t5\tnow\n", r"\.inter, line 5: timestamp is 'now'"),
        (ITEMS, INTERACTIONS + "\n\t1\t5\t1\n", r"\.inter, line 6: user_id is empty"),
        (
            ITEMS,
            INTERACTIONS + "1\t2\t5\t1\n",
            r"\.inter, line 5: item_id '2' is not among the items",
        ),
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
    with pytest.raises(DatasetError, match=r"\.item, line 6: movie_title is not UTF-8"):
        read_ml_100k(folder)


MOVIES_DAT = "1::Toy Story (1995)::Animation|Comedy\n73::Misérables, Les (1995)::Drama\n"
RATINGS_DAT = "1::73::5::978300760\n2::1::3::978302109\n"


def ml_1m(folder: Path, *, movies: str = MOVIES_DAT, ratings: str = RATINGS_DAT) -> Path:
    (folder / "movies.dat").write_text(movies, encoding="latin-1")
    (folder / "ratings.dat").write_text(ratings)
    return folder


def test_ml_1m_is_read_from_grouplens_own_files(tmp_path: Path) -> None:
    dataset = read_ml_1m(ml_1m(tmp_path))
    assert dataset.items.to_pydict() == {
        "item_id": ["1", "73"],
        "title": ["Toy Story (1995)", "Misérables, Les (1995)"],
        "category": ["Animation, Comedy", "Drama"],
        "description": ["", ""],
    }
    assert dataset.interactions.to_pydict() == {
        "user_id": ["1", "2"],
        "item_id": ["73", "1"],
        "timestamp": [978300760, 978302109],
        "weight": [5.0, 3.0],
    }


@pytest.mark.parametrize(
    ("movies", "ratings", "message"),
    [
        (MOVIES_DAT + "9::Alone\n", RATINGS_DAT, r"movies\.dat, line 3: 2 values for 3 columns"),
        (MOVIES_DAT, RATINGS_DAT + "1::1::5\n", r"ratings\.dat, line 3: 3 values for 4 columns"),
        (MOVIES_DAT, RATINGS_DAT + "1::1::5::7::8\n", "line 3: 5 values for 4 columns"),
        (MOVIES_DAT, RATINGS_DAT + "1:x:1::5::7\n", "line 3: 3 values for 4 columns"),
        (MOVIES_DAT, RATINGS_DAT + "1::2::5::7\n", "line 3: MovieID '2' is not among the items"),
        (
            MOVIES_DAT,
            RATINGS_DAT + "1::1::five::7\n",
            "line 3: Rating is 'five', not a finite number",
        ),
        (
            MOVIES_DAT,
            RATINGS_DAT + "1::1::5::0x7\n",
            "line 3: Timestamp is '0x7', not seconds since 1970",
        ),
        (MOVIES_DAT, RATINGS_DAT + "::1::5::7\n", "line 3: UserID is empty"),
    ],
)
def test_a_bad_row_of_ml_1m_is_named(
    tmp_path: Path, movies: str, ratings: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_ml_1m(ml_1m(tmp_path, movies=movies, ratings=ratings))


MOVIES_CSV = (
    "movieId,title,genres\n"
    '11,"American President, The (1995)",Comedy|Drama|Romance\n'
    '99,"The ""Lost"" Film ",(no genres listed)\n'
)
RATINGS_CSV = "userId,movieId,rating,timestamp\n1,11,4.0,964982703\n1,99,0.5,964981247\n"


def ml_latest(folder: Path, *, movies: str = MOVIES_CSV, ratings: str = RATINGS_CSV) -> Path:
    folder = folder / "ml-latest-small"
    folder.mkdir()
    (folder / "movies.csv").write_text(movies)
    (folder / "ratings.csv").write_text(ratings)
    return folder


def test_ml_latest_is_read_and_named_for_its_folder(tmp_path: Path) -> None:
    dataset = read_ml_latest(ml_latest(tmp_path))
    assert dataset.info.name == "ml-latest-small"
    assert dataset.items["title"].to_pylist() == [
        "American President, The (1995)",
        'The "Lost" Film',
    ]
    assert dataset.items["category"].to_pylist() == ["Comedy, Drama, Romance", ""]
    assert dataset.interactions.to_pydict() == {
        "user_id": ["1", "1"],
        "item_id": ["11", "99"],
        "timestamp": [964982703, 964981247],
        "weight": [4.0, 0.5],
    }


def test_a_column_that_is_missing_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    folder = ml_latest(tmp_path, ratings="userId,movieId,stars\n1,11,4\n")
    with pytest.raises(
        DatasetError,
        match=r"ratings\.csv has no column 'rating', 'timestamp'; it has userId, movieId",
    ):
        read_ml_latest(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = ml_latest(tmp_path)
    (folder / "ratings.csv").unlink()
    with pytest.raises(DatasetError, match=r"ratings\.csv is missing"):
        read_ml_latest(folder)
    (folder / "movies.csv").unlink()
    with pytest.raises(DatasetError, match=r"movies\.csv is missing"):
        read_ml_latest(folder)
    with pytest.raises(DatasetError, match=r"movies\.dat is missing"):
        read_ml_1m(folder)
