"""Counts of a dataset: size, sparsity, repetitions, missing texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommenders.data.indexed import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.data.dataset import Dataset
    from recommenders.data.indexed import Indexed


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of a count: minimum, lower quartile, median, upper quartile, maximum."""

    least: int
    quarter: int
    middle: int
    three_quarters: int
    most: int

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Spread:
        """Returns the quantiles, each an observed value; zeros for no counts."""
        if not counts.size:
            return cls(0, 0, 0, 0, 0)
        found = np.quantile(counts, [0, 0.25, 0.5, 0.75, 1], method="lower")
        return cls(*(int(value) for value in found))


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The counts of a dataset.

    Attributes:
        users: Number of users with interactions.
        items: Number of items, with and without interactions.
        items_unchosen: Number of items without interactions.
        interactions: Number of rows of the table.
        repeated: Number of rows that repeat the user and item of an earlier row.
        density: Distinct pairs as a share of users times items.
        history: Number of distinct items of a user.
        popularity: Number of distinct users of an item, without items that have none.
        times: Number of distinct timestamps; if it is 1, only the table has an order.
    """

    users: int
    items: int
    items_unchosen: int
    interactions: int
    repeated: int
    density: float
    history: Spread
    popularity: Spread
    times: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """The counts of items' texts.

    Attributes:
        without_text: Number of items with neither category nor description, whose title is their id.
        without_title: Number of items whose title is their id.
        without_category: Number of items whose category is empty.
        without_description: Number of items whose description is empty.
        shared: Number of items with the same title and description as another item, ignoring letter
            case and outer spaces.
        examples: Some of these texts, each with at most five of its item ids.
    """

    without_text: int
    without_title: int
    without_category: int
    without_description: int
    shared: int
    examples: tuple[tuple[str, tuple[str, ...]], ...]


def count(indexed: Indexed) -> Counts:
    """Counts interactions. Sorting the pairs takes 16 bytes for each."""
    users, items = indexed.shape
    keys = distinct(indexed.users.astype(np.int64) * items + indexed.items)
    history = np.bincount(keys // items, minlength=users) if items else np.empty(0, np.int64)
    popularity = np.bincount(keys % items, minlength=items) if items else np.empty(0, np.int64)
    return Counts(
        users=users,
        items=items,
        items_unchosen=int((popularity == 0).sum()),
        interactions=len(indexed.users),
        repeated=len(indexed.users) - len(keys),
        density=len(keys) / (users * items) if users * items else 0.0,
        history=Spread.of(history),
        popularity=Spread.of(popularity[popularity > 0]),
        times=len(distinct(indexed.times)),
    )


def text_groups(dataset: Dataset) -> NDArray[np.int64]:
    """Returns a group number for each item; items with the same title and description share it.

    Items without a text have -1.
    """
    titles, descriptions = _codes(dataset, "title"), _codes(dataset, "description")
    _, groups = np.unique(titles * (len(descriptions) + 1) + descriptions, return_inverse=True)
    return np.where(has_text(dataset), groups, -1)


def read_texts(dataset: Dataset, *, examples: int = 3) -> Texts:
    """Counts texts."""
    untitled, bare = _untitled(dataset), is_empty(dataset, "description")
    uncategorised = is_empty(dataset, "category")
    groups = text_groups(dataset)
    sizes = np.bincount(groups[groups >= 0])
    titles: list[Any] = dataset.items["title"].to_pylist()
    ids: list[Any] = dataset.items["item_id"].to_pylist()
    largest = [group for group in np.argsort(-sizes, kind="stable")[:examples] if sizes[group] > 1]
    members = [np.flatnonzero(groups == group) for group in largest]
    return Texts(
        without_text=int((untitled & bare & uncategorised).sum()),
        without_title=int(untitled.sum()),
        without_category=int(uncategorised.sum()),
        without_description=int(bare.sum()),
        shared=int(sizes[sizes > 1].sum()),
        examples=tuple((titles[rows[0]], tuple(ids[row] for row in rows[:5])) for rows in members),
    )


def has_text(dataset: Dataset) -> NDArray[np.bool_]:
    """Returns a mask of the items with a description, or a title that is not their id."""
    return ~(_untitled(dataset) & is_empty(dataset, "description"))


def _codes(dataset: Dataset, column: str) -> NDArray[np.int64]:
    """Returns a code for each text of a column, ignoring letter case and outer spaces."""
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(dataset.items[column]))
    encoded = cast("pa.DictionaryArray[Any, Any]", texts.dictionary_encode().combine_chunks())
    return np.asarray(encoded.indices).astype(np.int64)


def _untitled(dataset: Dataset) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(dataset.items["title"], dataset.items["item_id"]))


def is_empty(dataset: Dataset, column: str) -> NDArray[np.bool_]:
    """Returns a mask of the items that have only spaces in a column."""
    trimmed = pc.utf8_trim_whitespace(dataset.items[column])
    return np.asarray(pc.equal(trimmed, pa.scalar("")))
