"""The dataset folder: written by readers, read by trainers and builders.

A folder holds `items.parquet`, `interactions.parquet` and `dataset.json`. Ids are those of the
source, as strings. A Dataset is validated when it is constructed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommenders.data.errors import DatasetError
from services.common.files import atomic_folder, is_occupied

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ITEMS = "items.parquet"
INTERACTIONS = "interactions.parquet"
INFO = "dataset.json"

ITEM_COLUMNS: Mapping[str, pa.DataType] = {
    "item_id": pa.string(),
    "title": pa.string(),
    "category": pa.string(),
    "description": pa.string(),
}
INTERACTION_COLUMNS: Mapping[str, pa.DataType] = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "timestamp": pa.int64(),
    "weight": pa.float32(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetInfo:
    """Name, source and licence of a dataset.

    Attributes:
        name: A short name, such as `ml-100k`.
        source: Where its files were obtained.
        licence: The terms of use, in words, with the citation that they require.
        split: How the interactions were selected from a larger set; None if all are included.
    """

    name: str
    source: str
    licence: str
    split: str | None = None


class Dataset:
    """Items with their texts, and interactions of users with items.

    Attributes:
        info: Name, source and licence.
        items: Columns item_id (unique), title, category and description, all strings, and further
            columns of the source.
        interactions: Columns user_id and item_id (of `items`), strings; timestamp, int64, seconds
            since 1970; weight, float32, such as a rating.
    """

    def __init__(self, info: DatasetInfo, items: pa.Table, interactions: pa.Table) -> None:
        """Validates the tables.

        Raises:
            DatasetError: A column is missing, has another type or a null; an item id occurs twice
                or is unknown; a weight is not finite. The message names the first such row, from 0.
        """
        self.info = info
        self.items = _checked(items, ITEM_COLUMNS, "items")
        self.interactions = _checked(interactions, INTERACTION_COLUMNS, "interactions")
        _check_items(self.items)
        _check_interactions(self.interactions, self.items)

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Reads a dataset folder.

        Raises:
            DatasetError: A file is missing or damaged, or the tables are invalid.
        """
        if not folder.is_dir():
            raise DatasetError(f"{folder} is not a folder; `reclm-recommend data get` makes one")
        info = _read_info(folder / INFO)
        items, interactions = _read_table(folder / ITEMS), _read_table(folder / INTERACTIONS)
        try:
            return cls(info, items, interactions)
        except DatasetError as error:
            raise DatasetError(f"{folder}: {error}") from error

    def write(self, folder: Path, *, replace: bool = False) -> None:
        """Writes the dataset folder atomically.

        Args:
            folder: The folder; parent folders are made.
            replace: Whether to replace an existing dataset.

        Raises:
            DatasetError: The folder holds something other than a dataset, or a dataset that is not
                to be replaced.
        """
        occupied = is_occupied(folder)
        if occupied and not (folder / INFO).is_file():
            raise DatasetError(f"{folder} holds something other than a dataset; choose another")
        if occupied and not replace:
            raise DatasetError(f"{folder} holds a dataset already; --force replaces it")
        with atomic_folder(folder, replace=replace) as new:
            pq.write_table(self.items, new / ITEMS)
            pq.write_table(self.interactions, new / INTERACTIONS)
            document = json.dumps(asdict(self.info), indent=2, ensure_ascii=False)
            (new / INFO).write_text(document + "\n", encoding="utf-8")

    def histories(
        self, *, min_weight: float | None = None, up_to: int | None = None
    ) -> dict[str, list[str]]:
        """Returns the items of each user, oldest first; equal timestamps keep the table's order.

        Args:
            min_weight: Minimum weight of the interactions.
            up_to: Time of the last interaction to include, in seconds since 1970.

        Returns:
            User id -> item ids, in order of the users' first appearance. Users without any such
            interaction are left out.
        """
        table = self.interactions
        if min_weight is not None:
            table = table.filter(pc.field("weight") >= min_weight)
        if up_to is not None:
            table = table.filter(pc.field("timestamp") <= up_to)
        if not table.num_rows:
            return {}
        users = table["user_id"].combine_chunks().dictionary_encode()
        codes = np.asarray(users.indices)
        order = np.lexsort((np.asarray(table["timestamp"]), codes))
        items = np.asarray(table["item_id"])[order].tolist()
        ends = np.cumsum(np.bincount(codes)).tolist()
        starts = [0, *ends[:-1]]
        names = np.asarray(users.dictionary).tolist()
        return {
            name: items[start:end] for name, start, end in zip(names, starts, ends, strict=True)
        }


def _read_info(path: Path) -> DatasetInfo:
    known = {field.name for field in fields(DatasetInfo)}
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing; the folder is not a dataset") from error
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict) or not known - {"split"} <= set(document) <= known:
        raise DatasetError(
            f"{path} must be an object with the members {', '.join(sorted(known))} and no others"
        )
    for name, value in document.items():
        if not isinstance(value, str) and not (name == "split" and value is None):
            raise DatasetError(f"{path}: {name} is {value!r}, not a string")
    return DatasetInfo(**document)


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing; the folder is not a dataset") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _checked(table: pa.Table, columns: Mapping[str, pa.DataType], name: str) -> pa.Table:
    """Returns the table with the columns cast to their types; other columns are unchanged."""
    for column, kind in columns.items():
        if column not in table.column_names:
            raise DatasetError(f"{name} have no column {column!r}")
        index = table.column_names.index(column)
        try:
            values = table.column(index).cast(kind)
        except pa.ArrowException as error:
            had = table.schema.field(index).type
            raise DatasetError(f"{name}: column {column!r} is {had}, not {kind}") from error
        _refuse(values.is_null(), name, f"has no {column}")
        table = table.set_column(index, column, values)
    return table


def _check_items(items: pa.Table) -> None:
    for column in ("item_id", "title"):
        _refuse(pc.equal(items[column], pa.scalar("")), "items", f"has an empty {column}")
    ids = items["item_id"].to_pylist()
    if len(set(ids)) < len(ids):
        seen: set[str | None] = set()
        for row, name in enumerate(ids):
            if name in seen:
                raise DatasetError(f"items: row {row} has item_id {name!r} a second time")
            seen.add(name)


def _check_interactions(interactions: pa.Table, items: pa.Table) -> None:
    empty = pc.equal(interactions["user_id"], pa.scalar(""))
    _refuse(empty, "interactions", "has an empty user_id")
    unknown = pc.invert(pc.is_in(interactions["item_id"], value_set=items["item_id"]))
    _refuse(unknown, "interactions", "has an item_id that is not among the items")
    infinite = pc.invert(pc.is_finite(interactions["weight"]))
    _refuse(infinite, "interactions", "has a weight that is not a finite number")


def _refuse(wrong: pa.Array[Any] | pa.ChunkedArray[Any], name: str, what: str) -> None:
    rows = np.flatnonzero(np.asarray(wrong))
    if rows.size:
        more = f" (and {rows.size - 1} more)" if rows.size > 1 else ""
        raise DatasetError(f"{name}: row {rows[0]} {what}{more}")
