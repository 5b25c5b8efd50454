"""Negative sampling without rejection, for many users at once.

The usual method draws any item and repeats the draw if the item is a positive. Here every random
number corresponds to a negative: number r of a user is the r-th item, in order of the rows, that is
not among the user's positives p_0 < p_1 < ... Before p_j there are p_j - j such items, so with
c = the number of j for which p_j - j <= r the item is r + c. A bisection over all users of a batch
finds c. With weights the same holds for the sum of weights before an item; weights are integers, so
that rounding never yields a positive.

Memory: 4 bytes for each positive, 16 with weights; the matrix itself is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

_BATCH = 1 << 13  # users per bisection; their arrays fit into the processor's cache
_WEIGHT = 1 << 20  # the weight of the most popular item


class NegativeSampler:
    """Draws items for users that are not among their positives.

    The probability is uniform, or depends on the items' popularity.
    """

    def __init__(self, positives: sparse.csr_array, *, popularity: float = 0.0) -> None:
        """Builds the index.

        Args:
            positives: CSR, users x items; every stored entry is a positive, also if its value is 0.
            popularity: Exponent of the popularity. With 0 all items have the same probability;
                word2vec's 0.75 is common. Above 0, items without interactions are not drawn.

        Raises:
            ValueError: `popularity` is negative.
        """
        if popularity < 0:
            raise ValueError(f"popularity is {popularity}; at least 0")
        matrix = positives if positives.has_canonical_format else _canonical(positives)
        self._starts = matrix.indptr.astype(np.int64)
        counts = np.diff(self._starts)
        self._weights = _weights(matrix, popularity) if popularity else None
        if self._weights is None:
            place = np.arange(matrix.nnz) - np.repeat(self._starts[:-1], counts)
            self._before = (matrix.indices - place).astype(np.int32)
            self._room = matrix.shape[1] - counts
        else:
            ends = np.cumsum(self._weights)
            taken = np.concatenate([[0], np.cumsum(self._weights[matrix.indices])])
            own = taken[:-1] - np.repeat(taken[self._starts[:-1]], counts)
            self._ends = ends
            self._taken = taken
            self._before = (ends - self._weights)[matrix.indices] - own
            self._room = ends[-1] - (taken[self._starts[1:]] - taken[self._starts[:-1]])
        self._steps = int(counts.max(initial=0)).bit_length()

    def draw(
        self, users: NDArray[np.integer], rng: np.random.Generator, *, count: int = 1
    ) -> NDArray[np.int64]:
        """Draws items for each user, with replacement.

        Args:
            users: User rows; a row may occur several times.
            rng: Source of randomness.
            count: Number of items for each entry of `users`.

        Returns:
            Item rows, shape (len(users), count).

        Raises:
            DatasetError: A user has all items that could be drawn; the message names the row.
        """
        flat = np.repeat(np.asarray(users, np.int64), count)
        room = self._room[flat]
        if (room <= 0).any():
            row = flat[np.argmax(room <= 0)]
            raise DatasetError(
                f"user row {row} has interactions with all items; no negative can be drawn"
            )
        numbers: NDArray[np.int64] = rng.integers(0, room)
        items = np.empty(len(flat), np.int64)
        for start in range(0, len(flat), _BATCH):
            batch = slice(start, start + _BATCH)
            items[batch] = self._items(flat[batch], numbers[batch])
        return items.reshape(len(users), count)

    def _items(self, users: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        starts = self._starts[users]
        passed = self._passed(starts, self._starts[users + 1], numbers)
        if self._weights is None:
            items: NDArray[np.int64] = numbers + passed
            return items
        skipped = self._taken[starts + passed] - self._taken[starts]
        found: NDArray[np.int64] = np.searchsorted(self._ends, numbers + skipped, side="right")
        return found

    def _passed(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Returns how many of each user's positives precede the negative with this number."""
        low: NDArray[np.int64] = starts
        high = ends
        last = max(len(self._before) - 1, 0)
        for _ in range(self._steps):
            middle = (low + high) >> 1
            beyond = (middle < high) & (self._before[np.minimum(middle, last)] <= numbers)
            low = np.where(beyond, middle + 1, low)
            high = np.where(beyond, high, middle)
        passed: NDArray[np.int64] = low - starts
        return passed


def _canonical(matrix: sparse.csr_array) -> sparse.csr_array:
    copy = matrix.copy()
    copy.sum_duplicates()
    return copy


def _weights(matrix: sparse.csr_array, power: float) -> NDArray[np.int64]:
    """Returns integers in proportion to popularity**power; at least 1 for an item with interactions."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)
    shares = counts / max(counts.max(initial=0), 1)
    weights: NDArray[np.int64] = np.rint(shares**power * _WEIGHT).astype(np.int64)
    return np.where((counts > 0) & (weights == 0), 1, weights)
