"""Negatives for training where items are ranked later that training has no interactions of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy import sparse

    Draw = Callable[[NDArray[np.integer], np.random.Generator], NDArray[np.integer]]
    """From user rows to an item row for each, (b,) or (b, 1), none of the user's in training."""


def among_chosen(train: sparse.csr_array, sampler: Callable[[sparse.csr_array], Draw]) -> Draw:
    """Returns a way to draw negatives among the items that somebody chose.

    An item that nobody chose is never a positive. Drawn as a negative, it would be learnt to be
    what nobody wants, by its text as well, and could not be recommended when it is new.

    Args:
        train: CSR, (n_users, n_items).
        sampler: From a matrix to a way to draw among its columns, such as
            `lambda matrix: NegativeSampler(matrix).draw`.
    """
    chosen = np.flatnonzero(np.bincount(train.indices, minlength=train.shape[1]))
    draw = sampler(train[:, chosen])

    def of_all(users: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.integer]:
        rows: NDArray[np.integer] = chosen[draw(users, rng)]
        return rows

    return of_all
