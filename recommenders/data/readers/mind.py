"""MIND, Microsoft's news dataset, from its own files: news and logs of impressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommenders.data.dataset import INTERACTION_COLUMNS, Dataset, DatasetInfo
from recommenders.data.readers.blocks import read_delimited
from recommenders.data.readers.tables import items_table
from services.common.tabular.delimited import Dialect
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recommenders.data.readers.blocks import Block, Column

MIND = DatasetInfo(
    name="mind",
    source="MIND by Microsoft, https://msnews.github.io",
    licence=(
        "Microsoft Research License Terms: for research. Publications cite: Fangzhao Wu et al., "
        "MIND: A Large-scale Dataset for News Recommendation, ACL 2020."
    ),
)

_NEWS = Dialect(
    delimiter="\t",
    quotes=False,
    columns=("id", "category", "subcategory", "title", "abstract", "url", "entities", "more"),
)
_LOGGED = ("user", "time", "history", "impressions")
_BEHAVIORS = Dialect(delimiter="\t", quotes=False, columns=("number", *_LOGGED))
_TIME = "%m/%d/%Y %I:%M:%S %p"


def read_mind(folder: Path) -> Dataset:
    """Reads `news.tsv` and `behaviors.tsv` of one folder, such as `MINDsmall_train`.

    Interactions are clicks, with weight 1: those in a user's history, oldest first, which the file
    repeats in each of the user's rows and which are taken from the first, with timestamp 0, since
    all that is known of their time is that it was before the log; and the clicked impressions,
    with the time of the impression, read as UTC. Category and subcategory become the category,
    abstracts the description.

    Raises:
        DatasetError: A file is missing or a row cannot be read; file and line are named. So are
            impressions that do not say whether they were clicked, as in the folder for the test.
    """
    ids, titles, categories, descriptions = [], [], [], []
    wanted = ("id", "title", "category", "subcategory", "abstract")
    for block in read_delimited(folder / "news.tsv", _NEWS, wanted):
        texts = [listed(block.texts(name)) for name in wanted[1:]]
        ids += listed(block.ids("id"))
        titles += texts[0]
        categories += [", ".join(filter(None, both)) for both in zip(*texts[1:3], strict=True)]
        descriptions += texts[3]
    items = items_table(ids, titles, categories, descriptions)
    known, seen = items["item_id"].combine_chunks(), set[str]()
    tables = [
        table
        for block in read_delimited(folder / "behaviors.tsv", _BEHAVIORS, _LOGGED)
        for table in (_history(block, known, seen), _clicks(block, known))
    ]
    none = pa.schema(INTERACTION_COLUMNS).empty_table()
    return Dataset(MIND, items, pa.concat_tables([none, *tables]))


def _history(block: Block, known: Column, seen: set[str]) -> pa.Table:
    """Returns the histories of users who are seen for the first time, and adds them to `seen`."""
    users = block.ids("user")
    encoded = users.dictionary_encode()
    _, firsts = np.unique(np.asarray(encoded.indices), return_index=True)
    names = listed(encoded.dictionary)
    new = [int(first) for name, first in zip(names, firsts, strict=True) if name not in seen]
    seen.update(names)
    rows, items = _words(block.texts("history"), np.array(sorted(new), np.int64))
    _refuse_unknown(block, rows, items, known, "history")
    return _table(users.take(rows), items, np.zeros(len(rows), np.int64))


def _clicks(block: Block, known: Column) -> pa.Table:
    users = block.ids("user")
    rows, words = _words(block.texts("impressions", empty=False), np.arange(len(users)))
    clicked = np.asarray(pc.ends_with(words, pattern="-1"))
    unclear = ~(clicked | np.asarray(pc.ends_with(words, pattern="-0")))
    _refuse_words(block, rows, words, unclear, "impression {!r} ends neither in -0 nor in -1")
    times = _times(block)
    chosen = np.flatnonzero(clicked)
    items = pc.utf8_slice_codeunits(words.take(chosen), 0, -2)
    _refuse_unknown(block, rows[chosen], items, known, "impression")
    return _table(users.take(rows[chosen]), items, times[rows[chosen]])


def _times(block: Block) -> NDArray[np.int64]:
    texts = block.texts("time", empty=False)
    moments = pc.strptime(texts, format=_TIME, unit="s", error_is_null=True)
    block.refuse(
        moments.is_null(),
        lambda row: f"time {texts[row].as_py()!r} is not like 11/15/2019 8:55:22 AM",
    )
    return np.asarray(moments.cast(pa.int64()))


def _words(texts: Column, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Column]:
    """Returns the words in the chosen rows, and the row of each."""
    lists: Any = pc.split_pattern(texts.take(rows), pattern=" ")
    words, owners = lists.flatten(), rows[np.asarray(pc.list_parent_indices(lists))]
    there = pc.not_equal(words, pa.scalar(""))
    return owners[np.asarray(there)], words.filter(there)


def _refuse_unknown(
    block: Block, rows: NDArray[np.int64], items: Column, known: Column, what: str
) -> None:
    unknown = np.asarray(pc.invert(pc.is_in(items, value_set=known)))
    _refuse_words(block, rows, items, unknown, what + " {!r} is not among the news")


def _refuse_words(
    block: Block,
    rows: NDArray[np.int64],
    words: Column,
    wrong: NDArray[np.bool_],
    message: str,
) -> None:
    """Raises for the first word that is wrong, at the row that it stood in."""
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        block.fail(int(rows[first]), message.format(words[first].as_py()))


def _table(users: Column, items: Column, times: NDArray[np.int64]) -> pa.Table:
    weights = np.ones(len(users), np.float32)
    schema = pa.schema(INTERACTION_COLUMNS)
    return pa.table([users, items, pa.array(times), pa.array(weights)], schema=schema)
