"""Games-6k of LLMRank: Amazon's video games, each user's purchases in their order."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommenders.data.dataset import Dataset, DatasetInfo
from recommenders.data.readers.blocks import read_delimited
from recommenders.data.readers.tables import TRAIN, WARM_TEST, items_table, part_table
from services.common.tabular.delimited import ATOMIC
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.data.readers.blocks import Block, Column

GAMES = DatasetInfo(
    name="games-6k",
    source="Games-6k of LLMRank, github.com/RUCAIBox/LLMRank, from Amazon review data (2018)",
    licence=(
        "No terms come with the files. Publications cite: Jianmo Ni, Jiacheng Li, Julian McAuley, "
        "Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects, "
        "EMNLP 2019; and Yupeng Hou et al., Large Language Models are Zero-Shot Rankers for "
        "Recommender Systems, ECIR 2024."
    ),
    split="as published: each user's last item is warm/test, all before it is train",
)


def read_games(folder: Path) -> Dataset:
    """Reads `Games-6k.item` and `Games-6k.test.inter`: titles, each user's history, and next item.

    There is an order and no clock: an interaction's timestamp is its position in the user's
    sequence, from 0, and means nothing between users. Weights are 1.

    Raises:
        DatasetError: A file or column is missing or a row cannot be read; file and line are named.
    """
    ids, titles = [], []
    for block in read_delimited(folder / "Games-6k.item", ATOMIC, ("item_id", "title")):
        ids += listed(block.ids("item_id"))
        # Amazon's titles come as they stood in a page.
        titles += [
            html.unescape(title).strip() for title in listed(block.texts("title", empty=False))
        ]
    items = items_table(ids, titles)
    known = items["item_id"].combine_chunks()
    columns = ("user_id", "item_id_list", "item_id")
    parts = [
        part
        for block in read_delimited(folder / "Games-6k.test.inter", ATOMIC, columns)
        for part in _interactions(block, known)
    ]
    return Dataset(GAMES, items, pa.concat_tables(parts) if parts else _nobody())


def _interactions(block: Block, known: Column) -> list[pa.Table]:
    users, last = block.ids("user_id"), block.ids("item_id", known=known)
    lists: Any = pc.split_pattern(block.texts("item_id_list", empty=False), pattern=" ")
    chosen, owners = lists.flatten(), pc.list_parent_indices(lists)
    rows = np.asarray(owners)
    unknown = np.asarray(pc.invert(pc.is_in(chosen, value_set=known)))
    if unknown.any():
        first = int(np.flatnonzero(unknown)[0])
        block.fail(int(rows[first]), f"{chosen[first].as_py()!r} is not among the items")
    lengths = np.bincount(rows, minlength=len(users)).astype(np.int64)
    positions = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return [
        part_table(users.take(owners), chosen, TRAIN, times=positions),
        part_table(users, last, WARM_TEST, times=lengths),
    ]


def _nobody() -> pa.Table:
    none = pa.array([], pa.string())
    return part_table(none, none, TRAIN)
