"""Anybody's interactions and items: Parquet, CSV, TSV or NDJSON whose columns are named by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recommenders.data.dataset import Dataset
from recommenders.data.readers.blocks import InteractionColumns, interactions_table, read_files
from recommenders.data.readers.tables import items_table
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from recommenders.data.dataset import DatasetInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemColumns:
    """What the columns of a file of items are called; None if there is none.

    Where a title is empty, the id stands in for it.
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
        interactions: A file or a folder of files: `.parquet`, `.csv`, `.tsv`, `.ndjson`, `.jsonl`,
            all but the first also with `.gz` or `.zst`.
        items: The same; without it the items are those of the interactions, without text.
        interaction_columns: By default `user_id` and `item_id`, no times and no weights.
        item_columns: By default `item_id` and `title`, no categories and no descriptions.

    Raises:
        DatasetError: A file or column is missing, or a row cannot be read; file and line are
            named, in Parquet the row, from 0.
    """
    names = interaction_columns or InteractionColumns()
    catalogue = _items(items, item_columns or ItemColumns()) if items is not None else None
    known = catalogue["item_id"].combine_chunks() if catalogue is not None else None
    table = interactions_table(read_files(interactions, names.all), names, known)
    if catalogue is None:
        ids: list[Any] = table["item_id"].unique().to_pylist()
        catalogue = items_table(ids, ids)
    return Dataset(info, catalogue, table)


def _items(path: Path, names: ItemColumns) -> pa.Table:
    fields = (names.title, names.category, names.description)
    wanted = [name for name in (names.item, *fields) if name is not None]
    ids: list[str] = []
    texts: list[list[str]] = [[], [], []]
    for block in read_files(path, wanted):
        ids += listed(block.ids(names.item))
        for place, name in enumerate(fields):
            texts[place] += listed(block.texts(name)) if name is not None else []
    return items_table(ids, *texts)
