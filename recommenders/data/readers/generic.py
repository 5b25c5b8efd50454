"""Anybody's interactions and items, as CSV, TSV or Parquet, with the names of the columns given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from recommenders.data.dataset import INTERACTION_COLUMNS, Dataset
from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import Block, interaction_batch, listed
from recommenders.data.readers.delimited import CSV, TSV, read_delimited, require_columns
from recommenders.data.readers.tables import items_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recommenders.data.dataset import DatasetInfo
    from recommenders.data.readers.blocks import TimeUnit

_ROWS = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class InteractionColumns:
    """What the columns of a file of interactions are called.

    Attributes:
        user: User ids.
        item: Item ids.
        time: Seconds since 1970, or moments such as `2024-05-01 12:30:00` (UTC unless they say
            otherwise); None if there are none, and all timestamps are 0.
        time_unit: What times count that are whole numbers.
        weight: Numbers such as ratings; None if there are none, and all weights are 1.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None
    time_unit: TimeUnit = "s"
    weight: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemColumns:
    """What the columns of a file of items are called.

    Attributes:
        item: Item ids.
        title: Titles; where one is empty, the id stands in for it.
        category: None if there are none.
        description: None if there are none.
    """

    item: str = "item_id"
    title: str = "title"
    category: str | None = None
    description: str | None = None


def read_generic(
    info: DatasetInfo,
    interactions: Path,
    items: Path | None = None,
    *,
    interaction_columns: InteractionColumns | None = None,
    item_columns: ItemColumns | None = None,
) -> Dataset:
    """Reads interactions and items in blocks.

    Args:
        info: What the dataset is.
        interactions: A file whose name ends in `.csv`, `.tsv` (also `.gz`) or `.parquet`.
        items: Another; without it the items are those of the interactions, without text.
        interaction_columns: By default `user_id` and `item_id`, no times and no weights.
        item_columns: By default `item_id` and `title`, no categories and no descriptions.

    Raises:
        DatasetError: A file or column is missing, or a row cannot be read; file and line are
            named, in Parquet the row, from 0.
    """
    names = interaction_columns or InteractionColumns()
    catalogue = _items(items, item_columns or ItemColumns()) if items is not None else None
    known = catalogue["item_id"].combine_chunks() if catalogue is not None else None
    optional = (names.time, names.weight)
    wanted = [names.user, names.item, *(name for name in optional if name is not None)]
    batches = [
        interaction_batch(
            block,
            known,
            user=names.user,
            item=names.item,
            time=names.time,
            time_unit=names.time_unit,
            weight=names.weight,
        )
        for block in read_blocks(interactions, wanted)
    ]
    table = pa.Table.from_batches(batches, schema=pa.schema(INTERACTION_COLUMNS))
    if catalogue is None:
        ids: list[Any] = table["item_id"].unique().to_pylist()
        catalogue = items_table(ids, ids)
    return Dataset(info, catalogue, table)


def read_blocks(path: Path, columns: Sequence[str]) -> Iterator[Block]:
    """Yields the wanted columns of a CSV, TSV or Parquet file in blocks.

    Raises:
        DatasetError: The file is of another kind, missing or damaged, or a column is missing.
    """
    name = path.name.lower().removesuffix(".gz")
    columns = list(dict.fromkeys(columns))
    if name.endswith(".parquet"):
        return _read_parquet(path, columns)
    if name.endswith((".csv", ".tsv")):
        return read_delimited(path, CSV if name.endswith(".csv") else TSV, columns)
    raise DatasetError(f"{path}: the name must end in .csv, .tsv (also .gz) or .parquet")


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Block]:
    try:
        with pq.ParquetFile(path) as file:
            require_columns(str(path), columns, file.schema_arrow.names)
            start = 0

            def where(row: int) -> str:
                return f"{path}, row {row}"

            for batch in file.iter_batches(_ROWS, columns=list(columns)):
                arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield Block(arrays, where, start)
                start += batch.num_rows
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _items(path: Path, names: ItemColumns) -> pa.Table:
    texts = {"title": names.title, "category": names.category, "description": names.description}
    there = {field: name for field, name in texts.items() if name is not None}
    columns: dict[str, list[str]] = {"item_id": [], **{field: [] for field in there}}
    for block in read_blocks(path, [names.item, *there.values()]):
        columns["item_id"] += listed(block.ids(names.item))
        for field, name in there.items():
            columns[field] += listed(block.texts(name))
    return items_table(
        columns["item_id"], columns["title"], columns.get("category"), columns.get("description")
    )
