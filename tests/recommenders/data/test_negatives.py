from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from recommenders.data.errors import DatasetError
from recommenders.data.negatives import NegativeSampler

# User 0 has items 1 and 3, user 1 none, user 2 all but 0, user 3 items 0 and 4.
CHOSEN = [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 1]]


def matrix(rows: list[list[int]]) -> sparse.csr_array:
    return sparse.csr_array(np.asarray(rows, np.float32))


def frequencies(sampler: NegativeSampler, user: int, draws: int = 20_000) -> np.ndarray:
    items = sampler.draw(np.full(draws, user), np.random.default_rng(3))
    return np.bincount(items.ravel(), minlength=5)


@pytest.mark.parametrize(
    ("user", "free"), [(0, [0, 2, 4]), (1, [0, 1, 2, 3, 4]), (2, [0]), (3, [1, 2, 3])]
)
def test_every_item_that_was_not_chosen_is_equally_likely(user: int, free: list[int]) -> None:
    counts = frequencies(NegativeSampler(matrix(CHOSEN)), user)
    assert np.flatnonzero(counts).tolist() == free
    assert len(free) == 1 or stats.chisquare(counts[free]).pvalue > 0.001


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_popular_items_are_drawn_more_often_when_asked(power: float) -> None:
    counts = frequencies(NegativeSampler(matrix(CHOSEN), popularity=power), 3)
    # The items have 1, 2, 1, 2 and 2 users; user 3 has the first and the last.
    expected = np.array([2**power, 1, 2**power])
    assert np.flatnonzero(counts).tolist() == [1, 2, 3]
    fit = stats.chisquare(counts[1:4], expected / expected.sum() * counts.sum())
    assert fit.pvalue > 0.001


def test_items_that_nobody_chose_are_not_drawn_by_popularity() -> None:
    sampler = NegativeSampler(matrix([[1, 0, 0], [0, 0, 1]]), popularity=0.75)
    assert set(sampler.draw(np.zeros(50, int), np.random.default_rng(0)).ravel()) == {2}


def test_a_user_who_has_all_items_is_named() -> None:
    sampler = NegativeSampler(matrix([[1, 0], [1, 1]]))
    assert sampler.draw(np.array([0]), np.random.default_rng(0)).tolist() == [[1]]
    with pytest.raises(DatasetError, match="user row 1 has interactions with all items"):
        sampler.draw(np.array([0, 1]), np.random.default_rng(0))
    by_popularity = NegativeSampler(matrix([[1, 0], [1, 0]]), popularity=1)
    with pytest.raises(DatasetError, match="user row 0 has interactions with all items"):
        by_popularity.draw(np.array([0]), np.random.default_rng(0))


def test_several_are_drawn_for_each_entry_in_its_own_row() -> None:
    sampler = NegativeSampler(matrix(CHOSEN))
    items = sampler.draw(np.array([2, 0, 2]), np.random.default_rng(1), count=40)
    assert items.shape == (3, 40)
    assert set(items[0]) == {0} == set(items[2])
    assert set(items[1]) == {0, 2, 4}
    assert sampler.draw(np.array([], int), np.random.default_rng(1)).shape == (0, 1)


def test_entries_that_are_there_twice_or_unsorted_count_once() -> None:
    twice = sparse.csr_array(
        (np.ones(3, np.float32), np.array([2, 0, 2]), np.array([0, 3])), shape=(1, 4)
    )
    items = NegativeSampler(twice).draw(np.zeros(60, int), np.random.default_rng(1))
    assert set(items.ravel()) == {1, 3}
    assert twice.indices.tolist() == [2, 0, 2]


def test_a_negative_power_is_refused() -> None:
    with pytest.raises(ValueError, match="popularity is -1"):
        NegativeSampler(matrix(CHOSEN), popularity=-1)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=6
        )
    ),
    popularity=st.sampled_from([0.0, 0.75]),
    seed=st.integers(0, 9),
)
def test_a_positive_is_never_drawn(rows: list[list[int]], popularity: float, seed: int) -> None:
    chosen = np.asarray(rows, bool)
    counted = chosen.any(axis=0) if popularity else np.ones(chosen.shape[1], bool)
    users = np.flatnonzero((~chosen & counted).any(axis=1))
    sampler = NegativeSampler(matrix(rows), popularity=popularity)
    items = sampler.draw(users, np.random.default_rng(seed), count=30)
    assert not chosen[users[:, None], items].any()
    again = sampler.draw(users, np.random.default_rng(seed), count=30)
    assert (items == again).all()
    assert counted[items].all()


def test_batches_do_not_change_what_is_drawn() -> None:
    rng = np.random.default_rng(5)
    chosen = rng.random((50, 80)) < 0.5
    sampler = NegativeSampler(sparse.csr_array(chosen.astype(np.float32)))
    users = rng.integers(0, 50, 30_000)
    items = sampler.draw(users, np.random.default_rng(6))
    assert not chosen[users[:, None], items].any()
    drawn = np.zeros((50, 80), bool)
    drawn[users, items[:, 0]] = True
    assert (drawn == ~chosen).all()  # about 15 draws for each possible pair
