"""The histories that profiles may read: training interactions, and known ones of new users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scipy import sparse

    from recommenders.data.indexed import Indexed
    from recommenders.data.split import Split


def readable_histories(indexed: Indexed, split: Split) -> Mapping[int, list[int]]:
    """Returns the items of each user that a profile may read, oldest first.

    These are the items of the training interactions; for users without any, the known items of the
    split's parts (see `Split.readable`). No relevant item is among them.

    Args:
        indexed: The dataset.
        split: A split of the dataset.

    Returns:
        User row -> item rows, each item once, at its first interaction. Users without readable items
        are left out.
    """
    readable = split.readable()
    items_of = {user: set(_row(readable, user)) for user in _rows_with_any(readable)}
    histories: dict[int, list[int]] = {}
    order = np.lexsort((indexed.times, indexed.users))
    users, items = indexed.users[order].tolist(), indexed.items[order].tolist()
    for user, item in zip(users, items, strict=True):
        left = items_of.get(user)
        if left and item in left:
            left.remove(item)
            histories.setdefault(user, []).append(item)
    return histories


def _rows_with_any(matrix: sparse.csr_array) -> list[int]:
    return np.flatnonzero(np.diff(matrix.indptr)).tolist()


def _row(matrix: sparse.csr_array, row: int) -> list[int]:
    start, end = matrix.indptr[row : row + 2]
    items: list[int] = matrix.indices[start:end].tolist()
    return items
