from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommenders.ranking import top_k
from recommenders.tie_breaking import draw


def ranked(scores: list[list[float]], k: int, seed: int = 0) -> list[list[int]]:
    array = np.array(scores, np.float32)
    users, items = np.arange(len(array)), 10 + np.arange(array.shape[1])
    return top_k(array, k, users=users, items=items, seed=seed).tolist()


def test_the_best_come_first_by_their_own_rows() -> None:
    assert ranked([[1, 4, 3, 2], [-1, -4, -3, -2]], 2) == [[11, 12], [10, 13]]


def test_lists_end_where_nothing_can_be_ranked() -> None:
    lowest = -np.inf
    assert ranked([[1, lowest, 3], [lowest] * 3], 2) == [[12, 10], [-1, -1]]
    assert ranked([[1, lowest, 3]], 5) == [[12, 10, -1, -1, -1]]


@st.composite
def scored(draw_: st.DrawFn) -> tuple[np.ndarray, int, int]:
    shape = draw_(st.integers(1, 6)), draw_(st.integers(1, 30))
    few = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    rows = st.lists(few, min_size=shape[1], max_size=shape[1])
    scores = draw_(st.lists(rows, min_size=shape[0], max_size=shape[0]))
    return np.array(scores, np.float32), draw_(st.integers(1, 35)), draw_(st.integers(0, 2**63))


@settings(max_examples=60, deadline=None)
@given(scored())
def test_equal_scores_are_ordered_by_lot_and_nothing_else(
    case: tuple[np.ndarray, int, int],
) -> None:
    scores, k, seed = case
    users, items = 5 + np.arange(len(scores)), 3 * np.arange(scores.shape[1])
    found = top_k(scores, k, users=users, items=items, seed=seed)
    draws = draw(seed, users[:, None], items[None, :])
    for row, (values, numbers) in enumerate(zip(scores, draws, strict=True)):
        order = [items[i] for i in np.lexsort((numbers, -values)) if values[i] > -np.inf]
        assert found[row].tolist() == (order + [-1] * k)[:k]


def test_every_item_has_the_same_chance_in_a_tie() -> None:
    users, items = np.arange(4000), np.arange(20)
    found = top_k(np.zeros((4000, 20), np.float32), 5, users=users, items=items, seed=3)
    chosen = np.bincount(found.ravel(), minlength=20)  # 1000 expected, deviation 27
    assert (abs(chosen - 1000) < 5 * 27).all()
    first = np.bincount(found[:, 0], minlength=20)  # 200 expected, deviation 14
    assert (abs(first - 200) < 5 * 14).all()


def test_tie_breaking_draws_are_the_same_on_every_machine_and_differ_by_seed() -> None:
    def split_mix(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    assert split_mix(0) == 0xE220A8397B1DCDAF  # the first number that is published for seed 0
    user, item = np.array([7]), np.array([123_456])
    expected = split_mix((split_mix((split_mix(2**63) + 7) % 2**64) + 123_456) % 2**64)
    assert draw(2**63, user, item).tolist() == [expected]
    assert ranked([[0.0] * 30], 30, seed=1) != ranked([[0.0] * 30], 30, seed=2)


@pytest.mark.parametrize("n_items", [3, 4, 400])
def test_scores_are_left_as_they_were(n_items: int) -> None:
    scores = np.zeros((2, n_items), np.float32)
    scores[:, 0] = 1
    before = scores.copy()
    top_k(scores, 3, users=np.arange(2), items=np.arange(n_items), seed=0)
    np.testing.assert_array_equal(scores, before)
