"""Similar users and similar items: an exact search, by blocks, without an n x n matrix.

The measure is the cosine of a trained model's vectors, LightGCN's in the paper (arXiv 2412.19302,
section 3.2). Without vectors it is the cosine of the users' choices, in which popular items have less
weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from services.profiles.domain.profile import Kind

    Vectors = NDArray[np.float32] | sparse.csr_array

_BLOCK_NUMBERS = 1 << 24  # similarities in memory at a time: 64 MiB


def nearest(
    vectors: Vectors, *, limit: int, block_numbers: int = _BLOCK_NUMBERS
) -> Iterator[NDArray[np.int64]]:
    """Yields the nearest other rows of each row by cosine, the nearest first.

    Rows with a cosine of 0 or less are not neighbours. Of equal cosines the earlier row comes first.

    Args:
        vectors: Shape (n, d), dense or sparse.
        limit: Most neighbours of a row.
        block_numbers: Most similarities in memory at a time.

    Yields:
        For each row in turn, the row numbers of its neighbours, at most `limit`.
    """
    unit = _unit(vectors)
    rows = unit.shape[0]
    block = max(1, block_numbers // max(rows, 1))
    across = unit.T.tocsc() if isinstance(unit, sparse.csr_array) else unit.T
    for start in range(0, rows, block):
        product = unit[start : start + block] @ across
        cosines: Any = product.toarray() if sparse.issparse(product) else np.asarray(product)
        for offset, line in enumerate(cosines):
            line[start + offset] = 0
            yield _best(line, limit)


def neighbours_by_vectors(
    names: Sequence[str], vectors: Vectors, *, limit: int
) -> dict[str, list[str]]:
    """Returns id -> ids of the neighbours, the nearest first.

    Args:
        names: The ids of the rows.
        vectors: Shape (len(names), d).
        limit: Most neighbours.
    """
    found = nearest(vectors, limit=limit)
    return {
        name: [names[other] for other in others] for name, others in zip(names, found, strict=True)
    }


def user_item_matrix(
    histories: Mapping[str, Sequence[str]], items: Sequence[str]
) -> sparse.csr_array:
    """Returns the matrix of users and items, with an item's weight where the user chose it.

    The weight of an item is `log(1 + users / users who chose it)`: a common rare choice makes two users
    more similar than a common popular one.
    """
    number = {name: row for row, name in enumerate(items)}
    chosen = [np.unique([number[name] for name in history]) for history in histories.values()]
    ends = np.cumsum([0, *(len(rows) for rows in chosen)])
    indices = np.concatenate(chosen) if chosen else np.empty(0, np.int64)
    popularity = np.bincount(indices.astype(np.int64), minlength=len(items))
    weights = np.log1p(len(chosen) / np.maximum(popularity, 1)).astype(np.float32)
    shape = (len(chosen), len(items))
    return sparse.csr_array((weights[indices.astype(np.int64)], indices, ends), shape=shape)


def chosen_by(histories: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns item id -> the users who chose it: with these, items are compared as users are."""
    users: dict[str, list[str]] = {}
    for user, history in histories.items():
        for item in dict.fromkeys(history):
            users.setdefault(item, []).append(user)
    return users


def neighbours_by_choice(
    histories: Mapping[str, Sequence[str]], names: Sequence[str], *, limit: int
) -> dict[str, list[str]]:
    """Returns id -> ids of the neighbours by weighted co-occurrence, the nearest first.

    Args:
        histories: Choices of all users, which the weights are computed from. For the neighbours of
            items, the result of `chosen_by`.
        names: Users to find neighbours of and among; those without a history have none.
        limit: Most neighbours.
    """
    items = list(dict.fromkeys(item for history in histories.values() for item in history))
    rows = {name: row for row, name in enumerate(histories)}
    known = [name for name in names if name in rows]
    matrix = user_item_matrix(histories, items)[[rows[name] for name in known]]
    return neighbours_by_vectors(known, sparse.csr_array(matrix), limit=limit)


def bundle_vectors(folder: Path, kind: Kind) -> tuple[list[str], NDArray[np.float32]]:
    """Returns the ids and vectors of a scorer bundle that `reclm-recommend` wrote.

    Args:
        folder: The bundle: `users.parquet` and `user_vectors.npy`, or the same of items.
        kind: Users or items.

    Returns:
        The ids, and their vectors of shape (n, d).

    Raises:
        InstructionDataError: A file is missing or damaged, or they do not belong together.
    """
    table, array = folder / f"{kind}s.parquet", folder / f"{kind}_vectors.npy"
    try:
        column = pq.read_table(table, columns=[f"{kind}_id"])[f"{kind}_id"]
        vectors = np.load(array, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InstructionDataError(f"{folder} has no {kind} vectors: {error}") from error
    names = [str(name) for name in column.to_pylist()]
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise InstructionDataError(f"{array} is {vectors.shape}, for {len(names)} {kind}s")
    return names, np.asarray(vectors, np.float32)


def _unit(vectors: Vectors) -> Vectors:
    if isinstance(vectors, sparse.csr_array):
        lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
        scale = sparse.diags_array((1 / np.where(lengths > 0, lengths, 1)).astype(np.float32))
        return sparse.csr_array(scale @ vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _best(cosines: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    others = np.flatnonzero(cosines > 0)
    if len(others) > limit:
        # Keep all rows with the cosine of the last one, so that the earlier of equal rows is taken.
        cut = np.partition(cosines[others], len(others) - limit)[len(others) - limit]
        others = others[cosines[others] >= cut]
    return others[np.argsort(-cosines[others], kind="stable")[:limit]].astype(np.int64)
