"""Items that a user did not choose, drawn for many users at once, without a second try.

The usual way draws any item and draws again where it was a positive one. Here every number that
is drawn stands for an item that may be drawn: number r of a user is the r-th item, in order of the
rows, that is not among the user's positives p_0 < p_1 < ... Before p_j lie p_j - j such items, so
with c = the number of j for which p_j - j <= r the item is r + c. The search for c is a bisection
over all users of a batch together. With weights the same holds of the weight that lies before an
item; weights are whole numbers, so that no rounding ever lands on a positive.

Memory: 4 bytes for each positive, with weights 16, next to the matrix, which is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

_BATCH = 1 << 13  # users searched for at a time; their arrays stay in the cache of the processor
_WEIGHT = 1 << 20  # what the most popular item weighs


class NegativeSampler:
    """Draws items for users, never one of their positives.

    Every other item of a user is equally likely, or likely by its popularity.
    """

    def __init__(self, positives: sparse.csr_array, *, popularity: float = 0.0) -> None:
        """Prepares for drawing.

        Args:
            positives: CSR, users x items; every stored entry is a positive, whatever its value.
            popularity: Draw items by how many users chose them, to this power. 0 draws all
                alike; word2vec's 0.75 is usual. Above 0, items that nobody chose are not drawn.

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
            users: User rows, each as often as wanted.
            rng: Where chance comes from.
            count: How many items for each entry of `users`.

        Returns:
            Item rows, shape (len(users), count).

        Raises:
            DatasetError: A user has every item that could be drawn; the message names the row.
        """
        flat = np.repeat(np.asarray(users, np.int64), count)
        room = self._room[flat]
        if (room <= 0).any():
            row = flat[np.argmax(room <= 0)]
            raise DatasetError(f"user row {row} has all items there are; no negative can be drawn")
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
        """Returns how many of each user's positives lie before the item of this number."""
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
    """Returns whole numbers in proportion to popularity; at least 1 for an item once chosen."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)
    shares = counts / max(counts.max(initial=0), 1)
    weights: NDArray[np.int64] = np.rint(shares**power * _WEIGHT).astype(np.int64)
    return np.where((counts > 0) & (weights == 0), 1, weights)
