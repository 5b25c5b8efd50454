"""MovieLens 1M as published with GEAR-Rec: a split, longer texts, and profiles by a large model.

Its files number users and films anew; the datasets and profiles made here have GroupLens's ids.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from recommenders.data.dataset import Dataset, DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import read_delimited
from recommenders.data.readers.lines import number_lines
from recommenders.data.readers.movielens import STRICT
from recommenders.data.readers.tables import TRAIN, WARM_TEST, items_table, part_table
from services.common.tabular.delimited import CSV
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GEAR_REC = DatasetInfo(
    name="ml-1m-gear",
    source="MovieLens 1M by GroupLens, as published with GEAR-Rec, github.com/MelanthaWang246/GEAR-Rec",
    licence=f"GEAR-Rec's repository: MIT. The ratings are GroupLens'. {STRICT}",
    split="as published: train.txt is train, test.txt is warm/test (drawn at random, 80/20)",
)
_TEXTS = ("Title", "Genres", "overview", "director", "actors")
_MAPS = {"llm_response_user.json": "user_map.txt", "llm_response_item.json": "item_map.txt"}


def read_gear_rec(folder: Path) -> Dataset:
    """Reads `train.txt`, `test.txt`, the two maps and `movies_extended.csv`.

    Genres become the category; overview, director and actors the description, in plain words.
    The files were shuffled and have neither times nor ratings: all timestamps are 0, and all
    weights 1. Films that are not in `item_map.txt` are left out.

    Raises:
        DatasetError: A file or column is missing or a row cannot be read; file and line are named.
    """
    users, items = _ids(folder / "user_map.txt"), _ids(folder / "item_map.txt")
    texts = _texts(folder / "movies_extended.csv")
    if lacking := [name for name in items if name not in texts]:
        where = folder / "movies_extended.csv"
        raise DatasetError(f"{where}: no row for {', '.join(lacking[:5])} of item_map.txt")
    titles, categories, descriptions = zip(*(texts[name] for name in items), strict=True)
    parts = [
        _part(folder / name, users, items, part)
        for name, part in (("train.txt", TRAIN), ("test.txt", WARM_TEST))
    ]
    table = items_table(items, titles, categories, descriptions)
    return Dataset(GEAR_REC, table, pa.concat_tables(parts))


def read_profiles(path: Path) -> dict[str, str]:
    """Reads `llm_response_user.json` or `llm_response_item.json`, with the map that lies beside it.

    Returns:
        GroupLens's id -> the profile's text.

    Raises:
        DatasetError: The file has another name, is missing, or is no object of strings by row.
    """
    if path.name not in _MAPS:
        raise DatasetError(f"{path} is neither {' nor '.join(_MAPS)}")
    ids = _ids(path.parent / _MAPS[path.name])
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{path} is not an object")
    rows = {str(row): name for row, name in enumerate(ids)}
    for row, text in document.items():
        if row not in rows or not isinstance(text, str) or not text.strip():
            raise DatasetError(f"{path}: {row!r} is no row of {_MAPS[path.name]} with a text")
    return {rows[row]: text for row, text in document.items()}


def _ids(path: Path) -> list[str]:
    """Returns row -> original id."""
    ids = []
    for row, (where, numbers) in enumerate(number_lines(path)):
        if len(numbers) != 2 or numbers[1] != row:
            raise DatasetError(f"{where}: not an id and the row {row}")
        ids.append(str(numbers[0]))
    return ids


def _texts(path: Path) -> dict[str, tuple[str, str, str]]:
    """Returns id -> title, category and description."""
    texts = {}
    for block in read_delimited(path, CSV, ("MovieID", *_TEXTS)):
        columns = [listed(block.texts(name)) for name in _TEXTS]
        ids = listed(block.ids("MovieID"))
        for name, title, genres, *words in zip(ids, *columns, strict=True):
            texts[name] = (title.strip(), genres.replace("|", ", "), _description(*words))
    return texts


def _description(overview: str, director: str, actors: str) -> str:
    parts = ["" if overview == "No overview found." else " ".join(overview.split())]
    if director:
        parts.append(f"Directed by {_listed(director)}.")
    if actors:
        parts.append(f"With {_listed(actors)}.")
    return " ".join(filter(None, parts))


def _listed(names: str) -> str:
    *most, last = (name.strip() for name in names.split("|"))
    return f"{', '.join(most)} and {last}" if most else last


def _part(path: Path, users: list[str], items: list[str], part: str) -> pa.Table:
    rows, chosen = [], []
    for where, numbers in number_lines(path):
        if not len(numbers) or numbers[0] >= len(users):
            raise DatasetError(f"{where}: does not begin with a row of user_map.txt")
        if (beyond := numbers[1:][numbers[1:] >= len(items)]).size:
            raise DatasetError(f"{where}: {beyond[0]} is no row of item_map.txt")
        rows.append(np.full(len(numbers) - 1, numbers[0]))
        chosen.append(numbers[1:])
    return part_table(_taken(users, rows), _taken(items, chosen), part)


def _taken(ids: list[str], rows: list[NDArray[np.int64]]) -> pa.Array[Any]:
    whole = np.concatenate(rows) if rows else np.empty(0, np.int64)
    return pa.array(ids, pa.string()).take(pa.array(whole, pa.int64()))
