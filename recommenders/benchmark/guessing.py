"""The popularity that can be guessed from an item's description: one number for each item.

A language model has read what people say of well-known items, so that its profiles know what sells.
How much of a profile's use is this one number is what the control `popularity` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsqr

from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the ridge regression; the best for items that it was not fitted to is taken."""

FOLDS = 5
BUMPS = 16
"""Numbers that one number is spread to; see `spread_out`."""


def guessed_popularity(
    described: sparse.csr_array | NDArray[np.float32], train: sparse.csr_array, *, seed: int
) -> NDArray[np.float64]:
    """Returns log(1 + interactions) of each item, guessed from its description by ridge regression.

    The regression is fitted to the items of training. The guess for one of them is by a regression
    on the other folds, as a guess for a new item is by one that has not seen it.

    Args:
        described: Words or vectors of the profiles, (n_items, any width).
        train: The training interactions, CSR, (n_users, n_items).
        seed: Of the division into folds.

    Returns:
        (n_items,), NaN for an item without a description.

    Raises:
        ModelError: Fewer items of training are described than there are folds.
    """
    counts = np.bincount(train.indices, minlength=train.shape[1])
    rows = sparse.csr_array(described).astype(np.float64)
    there = np.diff(rows.indptr) > 0
    known = np.flatnonzero((counts > 0) & there)
    if len(known) < FOLDS:
        raise ModelError(
            f"popularity is guessed from the profiles of at least {FOLDS} items of training, and "
            f"{len(known)} have one; leave the control 'popularity' out"
        )
    target = np.log1p(counts[known])
    folds = np.random.default_rng([seed, 0xF01D]).permutation(len(known)) % FOLDS
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for penalty in PENALTIES:
        guess = np.empty(len(known))
        for fold in range(FOLDS):
            rest, mine = known[folds != fold], known[folds == fold]
            guess[folds == fold] = _ridge(rows[rest], target[folds != fold], rows[mine], penalty)
        loss = float(np.square(guess - target).mean())
        if best is None or loss < best[0]:
            best = loss, penalty, guess
    assert best is not None  # noqa: S101 - there are penalties
    guesses = np.full(len(counts), np.nan)
    others = np.flatnonzero(there & (counts == 0))
    guesses[known] = best[2]
    guesses[others] = _ridge(rows[known], target, rows[others], best[1])
    return guesses


def spread_out(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns each number as the heights of overlapping bumps, so that a cosine can compare numbers.

    The cosine of two single numbers is 1 or -1. Of two rows of this it is near 1 where the numbers
    are near each other, and near 0 where they are apart. There is still no more in it than the number.

    Args:
        numbers: (rows,); NaN for a missing one.

    Returns:
        Float32, (rows, BUMPS); zeros for a missing number.
    """
    there = np.isfinite(numbers)
    if not there.any():
        return np.zeros((len(numbers), BUMPS), np.float32)
    low, high = (float(end) for end in np.quantile(numbers[there], (0.01, 0.99)))
    step = max((high - low) / (BUMPS - 1), 1e-9)
    positions = (np.clip(np.nan_to_num(numbers), low, high) - low) / step
    heights = np.exp(-0.5 * np.square(positions[:, None] - np.arange(BUMPS)))
    return np.where(there[:, None], heights, 0).astype(np.float32)


def _ridge(
    rows: sparse.csr_array,
    target: NDArray[np.float64],
    asked: sparse.csr_array,
    penalty: float,
) -> NDArray[np.float64]:
    """Returns the predictions of a ridge regression with an intercept that is not penalised."""
    mean = float(target.mean())
    weights = lsqr(rows, target - mean, damp=penalty**0.5, atol=1e-8, btol=1e-8, iter_lim=300)[0]
    predicted: NDArray[np.float64] = mean + asked @ weights
    return predicted
