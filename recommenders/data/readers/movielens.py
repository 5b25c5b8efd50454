"""MovieLens by GroupLens: 100K as the wheel of RecBole carries it, 1M and latest as published.

The wheel's files are RecBole's "atomic files": tab separated, a header that gives each column a
type, as in `movie_title:token_seq`.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.data.dataset import Dataset, DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import InteractionColumns, interactions_table, read_delimited
from recommenders.data.readers.lines import text_lines
from recommenders.data.readers.tables import items_table
from services.assets.wheels import WheelSource, download_wheel, extract
from services.common.tabular.delimited import ATOMIC, CSV, Dialect
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from recommenders.data.readers.blocks import Block

CITATION = (
    "Endorsement by the University of Minnesota or GroupLens must not be implied. Publications "
    "cite: F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets: History and Context, "
    "ACM Transactions on Interactive Intelligent Systems 5(4), Article 19, 2015, "
    "doi:10.1145/2827872."
)
STRICT = (
    "For research. Redistribution, and commercial or revenue-bearing use, need GroupLens' "
    f"permission. {CITATION}"
)
ML_100K = DatasetInfo(
    name="ml-100k",
    source="MovieLens 100K by GroupLens, as carried by the wheel recbole 1.2.1",
    licence=STRICT,
)
ML_1M = DatasetInfo(
    name="ml-1m",
    source="MovieLens 1M by GroupLens, https://grouplens.org/datasets/movielens/1m/",
    licence=STRICT,
)
ML_LATEST = DatasetInfo(
    name="ml-latest",
    source="MovieLens by GroupLens, https://grouplens.org/datasets/movielens/",
    licence=(
        "For research. Redistribution only under the same terms; commercial or revenue-bearing "
        f"use needs GroupLens' permission. {CITATION}"
    ),
)

_WHEEL = WheelSource(
    "recbole",
    "1.2.1",
    frozenset({"9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"}),
)
_ITEMS, _INTERACTIONS = "ml-100k.item", "ml-100k.inter"
_RATINGS_DAT = Dialect(
    delimiter="::", quotes=False, columns=("UserID", "MovieID", "Rating", "Timestamp")
)
_YEAR = re.compile(r"\d{4}")


def fetch_ml_100k() -> Dataset:
    """Downloads MovieLens-100K and reads it; nothing is left behind.

    Raises:
        AssetError: The download failed or is not the file it should be.
        DatasetError: The files in it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="reclm-") as scratch:
        folder = Path(scratch)
        names = {
            f"recbole/dataset_example/ml-100k/{name}": name for name in (_ITEMS, _INTERACTIONS)
        }
        extract(download_wheel(_WHEEL, folder), names, folder)
        return read_ml_100k(folder)


def read_ml_100k(folder: Path) -> Dataset:
    """Reads `ml-100k.item` and `ml-100k.inter`.

    Titles become "Toy Story (1995)", categories "Animation, Children's, Comedy"; ratings become
    weights.

    Raises:
        DatasetError: A file or column is missing or a row cannot be read; file and line are named.
    """
    ids: list[str] = []
    titles: list[str] = []
    categories: list[str] = []
    names = ("item_id", "movie_title", "release_year", "class")
    for block in read_delimited(folder / _ITEMS, ATOMIC, names):
        item_ids, films, years, genres = block.ids("item_id"), *map(block.texts, names[1:])
        ids += listed(item_ids)
        titles += map(_title, listed(films), listed(years))
        categories += map(_words, listed(genres))
    columns = ("user_id", "item_id", "rating", "timestamp")
    blocks = read_delimited(folder / _INTERACTIONS, ATOMIC, columns)
    return _dataset(ML_100K, items_table(ids, titles, categories), blocks, columns)


def read_ml_1m(folder: Path) -> Dataset:
    """Reads `movies.dat` and `ratings.dat` of MovieLens 1M; ratings become weights.

    Raises:
        DatasetError: A file is missing or a row cannot be read; file and line are named.
    """
    films = []
    for where, line in text_lines(folder / "movies.dat", "latin-1"):
        values = line.split("::")
        if len(values) != 3:
            raise DatasetError(f"{where}: {len(values)} values for 3 columns")
        films.append(values)
    items = items_table(
        [film[0] for film in films],
        [film[1].strip() for film in films],
        [film[2].replace("|", ", ") for film in films],
    )
    columns = ("UserID", "MovieID", "Rating", "Timestamp")
    blocks = read_delimited(folder / "ratings.dat", _RATINGS_DAT, columns)
    return _dataset(ML_1M, items, blocks, columns)


def read_ml_latest(folder: Path) -> Dataset:
    """Reads `movies.csv` and `ratings.csv` of MovieLens latest, latest-small, 20M, 25M or 32M.

    The dataset bears the name of the folder, since GroupLens replaces `latest` from time to time.
    Ratings become weights.

    Raises:
        DatasetError: A file or column is missing or a row cannot be read; file and line are named.
    """
    ids, titles, categories = [], [], []
    for block in read_delimited(folder / "movies.csv", CSV, ("movieId", "title", "genres")):
        ids += listed(block.ids("movieId"))
        titles += [title.strip() for title in listed(block.texts("title", empty=False))]
        categories += [
            "" if genres == "(no genres listed)" else genres.replace("|", ", ")
            for genres in listed(block.texts("genres"))
        ]
    columns = ("userId", "movieId", "rating", "timestamp")
    blocks = read_delimited(folder / "ratings.csv", CSV, columns)
    info = replace(ML_LATEST, name=folder.resolve().name)
    return _dataset(info, items_table(ids, titles, categories), blocks, columns)


def _dataset(
    info: DatasetInfo, items: pa.Table, blocks: Iterator[Block], columns: tuple[str, str, str, str]
) -> Dataset:
    user, item, rating, time = columns
    names = InteractionColumns(user=user, item=item, time=time, weight=rating)
    known = items["item_id"].combine_chunks()
    return Dataset(info, items, interactions_table(blocks, names, known))


def _title(title: str, year: str) -> str:
    # One film has "unkonwn" for a year, and one has its year in the title and a "V" beside it.
    return f"{title} ({year})" if _YEAR.fullmatch(year) else title


def _words(genres: str) -> str:
    return ", ".join(genre for genre in genres.split() if genre != "unknown")
