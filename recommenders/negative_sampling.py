"""Negative sampling for data with new items, which have no training interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy import sparse

    Draw = Callable[[NDArray[np.integer], np.random.Generator], NDArray[np.integer]]
    """Maps user rows to an item row each, (b,) or (b, 1), which the user has not in training."""


def among_chosen(train: sparse.csr_array, sampler: Callable[[sparse.csr_array], Draw]) -> Draw:
    """Returns a function that draws negatives among the items with training interactions.

    An item without interactions is never a positive. If it were drawn as a negative, the model would
    learn from its text that nobody wants it, and would not recommend it as a new item.

    Args:
        train: CSR, (n_users, n_items).
        sampler: Maps a matrix to a function that draws among its columns, such as
            `lambda matrix: NegativeSampler(matrix).draw`.
    """
    chosen = np.flatnonzero(np.bincount(train.indices, minlength=train.shape[1]))
    draw = sampler(train[:, chosen])

    def of_all(users: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.integer]:
        rows: NDArray[np.integer] = chosen[draw(users, rng)]
        return rows

    return of_all


def with_negatives(matrix: sparse.csr_array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Returns users and items of the interactions, without users who have no negatives."""
    counts = np.diff(matrix.indptr)
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), counts)
    chosen = np.count_nonzero(np.bincount(matrix.indices))
    if counts.max() < chosen:
        return users, matrix.indices
    kept = (counts < chosen)[users]
    return users[kept], matrix.indices[kept]
