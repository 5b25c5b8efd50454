"""The mean of the vectors of a user's known items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse


def mean_vectors(known: sparse.csr_array, items: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the mean vector of each user's known items, of unit length; zeros without any.

    Args:
        known: CSR, (n_users, n_items).
        items: Vectors of items, (n_items, dimension).

    Returns:
        Float32, (n_users, dimension).
    """
    sums = np.asarray(known @ items, np.float32)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: NDArray[np.float32] = sums / np.maximum(lengths, np.finfo(np.float32).tiny)
    return means
