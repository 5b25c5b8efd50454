"""The items that a model finds most alike, which are shown beside an item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_MIB = 16
_DECIMALS = 6
"""Of a cosine. Further ones differ between BLAS kernels, and would decide between equal items."""


def nearest(
    vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns for each item the others whose vectors have the highest cosine with its own.

    Args:
        vectors: Float32, (n_items, d); a vector of zeros has a cosine of 0 with all.
        count: How many.

    Returns:
        Their rows, int32, (n_items, count), best first, of equal ones the lower row first; and
        their cosines, float32, to six decimals. If there are fewer than `count` others, all of them.
    """
    n_items = len(vectors)
    count = max(0, min(count, n_items - 1))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    rows = np.empty((n_items, count), np.int32)
    scores = np.empty((n_items, count), np.float32)
    step = max(1, _BLOCK_MIB * 2**20 // (4 * max(1, n_items)))
    for start in range(0, n_items, step):
        block = np.round(unit[start : start + step] @ unit.T, _DECIMALS)
        own = np.arange(len(block))
        block[own, start + own] = -np.inf
        best = np.argpartition(-block, max(0, count - 1), axis=1)[:, :count]
        last = np.take_along_axis(block, best, axis=1).min(axis=1, initial=np.inf)
        # Among items as near as the last one taken, the partition chose arbitrarily.
        for row in np.flatnonzero((block >= last[:, None]).sum(axis=1) > count).tolist():
            nearer = np.flatnonzero(block[row] > last[row])
            equal = np.flatnonzero(block[row] == last[row])
            best[row] = np.concatenate([nearer, equal])[:count]
        order = np.lexsort((best, -np.take_along_axis(block, best, axis=1)))
        best = np.take_along_axis(best, order, axis=1)
        rows[start : start + step] = best
        scores[start : start + step] = np.take_along_axis(block, best, axis=1)
    return rows, scores
