"""The k best items by score, with ties broken independently of the model and the data.

Equal scores are common: integer counts, items that share no word with any other, items that a model
cannot score. Breaking ties by row would give such a model the information in the order of rows,
which in many data sets is popularity; leaving them to the sort would make figures depend on a
library. Instead, each pair of user and item has a hash of seed, user and item, and the smaller one
goes first. It is the same for every model, block size and machine. A constant scorer is thereby the
random recommender, and its mean estimates the expected value over all orders of the ties (McSherry
and Najork, ECIR 2008), the more precisely the more seeds are averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recommenders.tie_breaking import draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


_CELLS = 2**20
"""Scores whose ties are broken at a time."""


def top_k(
    scores: NDArray[np.float32],
    k: int,
    *,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int32]:
    """Returns the k best items of each user, best first.

    Args:
        scores: (n_users, n_items) without NaN; minus infinity for items that are not ranked.
        k: Length of the lists, at least 1.
        users: (n_users,), the users' rows, for tie breaking.
        items: (n_items,), the items' rows.
        seed: For tie breaking.

    Returns:
        (n_users, k), rows from `items`; -1 at the end of lists with fewer than k items.
    """
    n_users, n_items = scores.shape
    depth = min(k, n_items)

    def draws(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint64]:
        return draw(seed, users[rows], items[columns])

    # One more than k: if its score equals the last one, the choice among them is arbitrary.
    found = torch.topk(torch.from_numpy(scores), min(depth + 1, n_items))
    values, columns = found.values.numpy(), found.indices.numpy()
    if n_items > depth:
        values, columns, outside = values[:, :depth], columns[:, :depth], values[:, depth]
        split = np.flatnonzero((values[:, -1] == outside) & np.isfinite(outside))
        step = max(1, _CELLS // n_items)
        for start in range(0, len(split), step):
            rows = split[start : start + step]
            columns[rows] = _filled(scores, values, columns, rows, draws)
    tied = np.flatnonzero((values[:, 1:] == values[:, :-1]).any(axis=1))
    if tied.size:
        order = np.lexsort((draws(tied[:, None], columns[tied]), -values[tied]))
        columns[tied] = np.take_along_axis(columns[tied], order, axis=1)
    ranked = np.full((n_users, k), -1, np.int32)
    ranked[:, :depth] = np.where(np.isneginf(values), -1, items[columns])
    return ranked


def _filled(
    scores: NDArray[np.float32],
    values: NDArray[np.float32],
    columns: NDArray[np.int64],
    split: NDArray[np.int64],
    draws: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.uint64]],
) -> NDArray[np.int64]:
    """Fills the last positions of some lists from all columns with their lowest score, by hash."""
    columns, lowest = columns[split], values[split, -1:]
    sure = (values[split] > lowest).sum(axis=1)
    rows, drawn = np.nonzero(scores[split] == lowest)
    numbers = draws(split[rows], drawn)
    kept = _small(numbers, rows, columns.shape[1] - sure)
    rows, drawn, numbers = rows[kept], drawn[kept], numbers[kept]
    order = np.lexsort((numbers, rows))
    rows, drawn = rows[order], drawn[order]
    positions = np.arange(len(rows)) - np.searchsorted(rows, rows) + sure[rows]
    chosen = positions < columns.shape[1]
    columns[rows[chosen], positions[chosen]] = drawn[chosen]
    return columns


def _small(
    numbers: NDArray[np.uint64], rows: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns a mask of the smallest numbers of each row and a few others.

    The numbers are uniform, so a bound somewhat above the expected one leaves few to sort.
    """
    sizes = np.bincount(rows, minlength=len(wanted))
    shares = np.minimum((wanted + 6 * np.sqrt(wanted) + 6) / sizes, 1)
    bounds = (shares * 2.0**53).astype(np.uint64)  # a number's first 53 bits; all bits of a float
    kept: NDArray[np.bool_] = (numbers >> np.uint64(11)) <= bounds[rows]
    short = np.bincount(rows[kept], minlength=len(wanted)) < wanted
    return kept | short[rows]
