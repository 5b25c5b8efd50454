from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profiles.scoring.topk import top_k


def sorted_out(scores: np.ndarray, k: int) -> list[int]:
    """The plain way: sort everything, the lower position first in ties."""
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
    return [row for row in order if scores[row] > -np.inf][:k]


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 3000),
    distinct=st.integers(1, 200),
    k=st.integers(1, 50),
    barred=st.floats(0, 1),
)
def test_it_is_what_sorting_gives(
    seed: int, size: int, distinct: int, k: int, barred: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, size).astype(np.float32)
    scores[rng.random(size) < barred] = -np.inf
    assert top_k(scores, k).tolist() == sorted_out(scores, k)


@pytest.mark.parametrize("k", [1, 20, 1000])
def test_it_is_what_sorting_gives_for_a_large_catalogue(k: int) -> None:
    scores = np.random.default_rng(k).standard_normal(158_155).astype(np.float32)
    assert top_k(scores, k).tolist() == sorted_out(scores, k)


def test_the_best_may_all_lie_in_one_column() -> None:
    scores = np.zeros(64 * 100, np.float32)
    scores[7::100] = np.arange(64)
    assert top_k(scores, 3).tolist() == [6307, 6207, 6107]


def test_nothing_is_returned_of_what_is_excluded() -> None:
    assert top_k(np.full(500, -np.inf, np.float32), 5).tolist() == []
    assert top_k(np.empty(0, np.float32), 5).tolist() == []
