"""Tie breaking: a pseudo-random number for each pair of user and item, whatever the order of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw(seed: int, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Returns a pseudo-random number for each user and item (SplitMix64, Steele et al. 2014)."""
    start = _mix(np.array([seed % 2**64], np.uint64))
    return _mix(_mix(start + users.astype(np.uint64)) + items.astype(np.uint64))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
