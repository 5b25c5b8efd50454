"""Singular vectors of the interactions, chosen so that they do not depend on the CPU.

A singular vector is determined by the data only where its singular value differs from all others.
Within a group of equal values any rotation of the vectors is as good, and which one a library
returns depends on its BLAS kernel, its number of threads and its starting vector. Two rules follow:
a group is taken whole or left out whole, and whoever uses the vectors must treat a group's members
alike (`Factors.averaged`), so that no rotation changes the result.
docs/decisions/0018-degenerate-factors.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.linalg import svds

from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

DENSE_LIMIT = 2048
"""Up to this many users or items, whichever are fewer, all singular values are computed."""

_EQUAL = 1e-9
"""Squared singular values are equal if they differ by less than this times the largest of them.

An eigenvector is computed to about machine precision times the largest eigenvalue over the gap:
a gap of this size leaves six correct digits.
"""


@dataclass(frozen=True, slots=True)
class Factors:
    """Right singular vectors of the largest singular values.

    Attributes:
        vectors: (n_items, d), float32, in descending order of their values.
        groups: (d,), int64, ascending from 0: factors with equal singular values share a number.
    """

    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]

    def averaged(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns one number a factor, (d,), replaced by the mean over the factor's group.

        A sum of squares over a group does not change when its vectors are rotated.
        """
        sums = np.bincount(self.groups, weights=values)
        averages: NDArray[np.float64] = (sums / np.bincount(self.groups))[self.groups]
        return averages


def leading_factors(train: sparse.csr_array, count: int, start: NDArray[np.float64]) -> Factors:
    """Returns the leading right singular vectors, up to the last gap between singular values.

    Args:
        train: CSR, (n_users, n_items).
        count: How many at most. There are fewer if the next singular value equals the last ones,
            or if the rank or the smaller side of the matrix minus one is less.
        start: Starting vector of Lanczos' method, (min(n_users, n_items),); not read where all
            values are computed.

    Raises:
        ModelError: There is one user or item, or all singular values are equal.
    """
    smaller = min(train.shape)
    most = min(count, smaller - 1)
    if most < 1:
        raise ModelError("one user or one item alone has no factors; take another model")
    if smaller <= DENSE_LIMIT:
        squares, right = _all(train.astype(np.float64))
    else:
        squares, right = _largest(train.astype(np.float64), min(most + 1, smaller - 1), start)
    # One more value than asked for says whether the cut goes through a group of equal ones.
    starts = np.concatenate([[True], squares[:-1] - squares[1:] > _EQUAL * squares[0]])
    groups = np.cumsum(starts) - 1
    kept = most if most == len(squares) else int(np.searchsorted(groups, groups[most]))
    kept = min(kept, int(np.count_nonzero(squares > _EQUAL * squares[0])))
    if not kept:
        raise ModelError(
            f"the {most} largest singular values of the interactions are equal to the next, so no"
            " factor is better than another; allow more factors, or take another model"
        )
    return Factors(
        np.ascontiguousarray(right[:, :kept].astype(np.float32)), groups[:kept].astype(np.int64)
    )


def _all(train: sparse.csr_array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns all squared singular values, descending, and the right vectors, (n_items, n)."""
    n_users, n_items = train.shape
    wide = n_items > n_users
    gram = (train @ train.T if wide else train.T @ train).toarray()
    squares, vectors = np.linalg.eigh(gram)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    if wide:
        lengths = np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny))
        vectors = train.T @ vectors / lengths
    return squares, vectors


def _largest(
    train: sparse.csr_array, count: int, start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the largest squared singular values, descending, and their right vectors."""
    _, values, right = svds(train, k=count, v0=start)
    order = np.argsort(-values)
    squares: NDArray[np.float64] = np.square(values[order], dtype=np.float64)
    return squares, right[order].T
