"""Dense linear algebra of closed-form models: in float32, in place, and refused when too large.

These models are exact and fast as long as a matrix of items x items fits into memory. If it does
not, an error says how much memory it would take, before anything is allocated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1024


def refuse_beyond(limit_gib: float, values: int, what: str) -> None:
    """Refuses to allocate more than a limit.

    Args:
        limit_gib: The limit.
        values: Number of float32 values at the peak.
        what: What needs them, for the message.

    Raises:
        ModelError: It is too much.
    """
    gib = values * 4 / 2**30
    if gib > limit_gib:
        raise ModelError(
            f"{what} needs {gib:.1f} GiB, and max_gib allows {limit_gib:g}; allow more, or keep"
            " fewer items"
        )


def product(
    left: sparse.csr_array | NDArray[np.float32], right: sparse.csr_array | NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns left @ right.T as a dense matrix, computed in blocks of rows."""
    result = np.empty((left.shape[0], right.shape[0]), np.float32)
    turned = right.T.tocsr() if sparse.issparse(right) else right.T
    for start in range(0, left.shape[0], _BLOCK):
        block = left[start : start + _BLOCK] @ turned
        result[start : start + _BLOCK] = block.toarray() if sparse.issparse(block) else block
    return result


def invert(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the inverse of a symmetric positive definite matrix, which is overwritten.

    Raises:
        ModelError: It is not positive definite to the precision of float32.
    """
    # Row order read as column order is the transpose, which is the same matrix.
    factor, failed = lapack.spotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
    _refuse_indefinite(failed)
    inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    _refuse_indefinite(failed)
    result: NDArray[np.float32] = inverse.T
    _mirror_upper(result)
    return result


def solve(matrix: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns matrix^-1 @ right for a symmetric positive definite matrix, which is overwritten.

    Raises:
        ModelError: It is not positive definite to the precision of float32.
    """
    factor, failed = lapack.spotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
    _refuse_indefinite(failed)
    solution, failed = lapack.spotrs(factor, right, lower=1)
    _refuse_indefinite(failed)
    return np.ascontiguousarray(solution)


def _refuse_indefinite(failed: int) -> None:
    if failed:
        raise ModelError("the matrix to invert is not positive definite; raise the regularisation")


def _mirror_upper(matrix: NDArray[np.float32]) -> None:
    for start in range(0, len(matrix), _BLOCK):
        rows = slice(start, start + _BLOCK)
        matrix[start + _BLOCK :, rows] = matrix[rows, start + _BLOCK :].T
        corner = np.triu(matrix[rows, rows])
        matrix[rows, rows] = corner + np.triu(corner, 1).T
