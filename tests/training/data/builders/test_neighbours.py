"""Neighbours are exact for every size of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from training.data.builders.neighbours import (
    bundle_vectors,
    chosen_by,
    nearest,
    neighbours_by_choice,
    user_item_matrix,
)
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from pathlib import Path


def by_hand(vectors: np.ndarray, limit: int) -> list[list[int]]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    return [
        [int(other) for other in np.argsort(-row, kind="stable")[:limit] if row[other] > 0]
        for row in cosines
    ]


@pytest.mark.parametrize("block_numbers", [1, 90, 1 << 24])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_blocks_find_what_the_whole_matrix_would(block_numbers: int, form: str) -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(40, 6)) * (rng.random((40, 6)) < 0.5)).astype(np.float32)
    given = sparse.csr_array(vectors) if form == "sparse" else vectors
    found = [row.tolist() for row in nearest(given, limit=5, block_numbers=block_numbers)]
    assert found == by_hand(vectors.astype(np.float32), 5)


def test_of_equally_near_rows_the_earlier_come_first() -> None:
    vectors = np.asarray([[1, 0], [2, 0], [3, 0], [4, 0], [0, 1]], np.float32)
    found = [row.tolist() for row in nearest(vectors, limit=2)]
    assert found == [[1, 2], [0, 2], [0, 1], [0, 1], []]


def test_what_few_chose_counts_more() -> None:
    histories = {
        "a": ["rare", "hit"],
        "b": ["rare", "other"],
        "c": ["hit", "more"],
        "d": ["hit", "most"],
        "e": ["hit", "last"],
    }
    found = neighbours_by_choice(histories, ["a", "b", "c", "nobody"], limit=2)
    assert found == {"a": ["b", "c"], "b": ["a"], "c": ["a"]}
    matrix = user_item_matrix(histories, ["rare", "hit", "other", "more", "most", "last"])
    np.testing.assert_allclose(matrix.toarray()[0, :2], np.log1p([5 / 2, 5 / 4]), rtol=1e-6)


def test_items_are_compared_by_who_chose_them() -> None:
    histories = {"u": ["a", "b", "a"], "v": ["a", "b"], "w": ["c", "b"]}
    assert chosen_by(histories) == {"a": ["u", "v"], "b": ["u", "v", "w"], "c": ["w"]}
    found = neighbours_by_choice(chosen_by(histories), ["a", "b", "c"], limit=1)
    assert found == {"a": ["b"], "b": ["a"], "c": ["b"]}


def test_a_bundle_s_vectors_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["x", "y"]}), tmp_path / "users.parquet")
    np.save(tmp_path / "user_vectors.npy", np.eye(2, 3, dtype=np.float32))
    names, vectors = bundle_vectors(tmp_path, "user")
    assert (names, vectors.shape) == (["x", "y"], (2, 3))
    with pytest.raises(InstructionDataError, match="no item vectors"):
        bundle_vectors(tmp_path, "item")
    np.save(tmp_path / "user_vectors.npy", np.eye(3, dtype=np.float32))
    with pytest.raises(InstructionDataError, match=r"\(3, 3\), for 2 users"):
        bundle_vectors(tmp_path, "user")
