"""Which items are nearest, where several are equally near."""

from __future__ import annotations

import numpy as np

from recommenders.export.neighbours import nearest


def test_of_equally_near_items_the_lower_rows_are_taken() -> None:
    # Items 20 to 59 are all alike; 0 to 19 have no vector, and a cosine of 0 with everything.
    vectors = np.zeros((60, 2), np.float32)
    vectors[20:] = [0, 2]
    rows, scores = nearest(vectors, 5)
    assert rows[30].tolist() == [20, 21, 22, 23, 24]
    assert rows[21].tolist() == [20, 22, 23, 24, 25]
    assert rows[0].tolist() == [1, 2, 3, 4, 5]
    assert scores[30].tolist() == [1] * 5
    assert scores[0].tolist() == [0] * 5


def test_nearer_items_come_before_equal_ones_of_lower_rows() -> None:
    vectors = np.array([[1, 0]] * 9 + [[3, 4], [0, 1]], np.float32)
    rows, scores = nearest(vectors, 4)
    assert rows[10].tolist() == [9, 0, 1, 2]
    assert np.allclose(scores[10], [0.8, 0, 0, 0])
    assert nearest(vectors[:1], 4)[0].shape == (1, 0)


def test_cosines_that_differ_by_rounding_alone_are_equal() -> None:
    # One direction in many lengths: the last digits of a cosine are those of a BLAS kernel.
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((101, 64)).astype(np.float32)
    vectors[50:] = vectors[50] * rng.uniform(0.1, 10, (51, 1)).astype(np.float32)
    rows, _ = nearest(vectors, 5)
    assert rows[100].tolist() == [50, 51, 52, 53, 54]
    assert rows[50].tolist() == [51, 52, 53, 54, 55]
