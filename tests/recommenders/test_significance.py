from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recommenders.significance import Comparison, Spread, holm, paired, randomisation


def test_a_spread_is_mean_and_sample_deviation() -> None:
    assert Spread.of([1.0, 2.0, 3.0]) == Spread(2.0, 1.0, 3)
    assert Spread.of([0.5]) == Spread(0.5, 0.0, 1)
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_a_comparison_is_what_it_is_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, error 1/sqrt(3), t = 2 sqrt(3) with 2 degrees of freedom, for
    # which P(|T| > t) = 1 - t / sqrt(2 + t^2) and the 97.5 % point is 4.302653.
    found = paired(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    t = 2 * 3**0.5
    assert found.p == pytest.approx(1 - t / (2 + t * t) ** 0.5)
    assert found.difference == 2
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5)
    assert found.n == 3


def test_the_paired_test_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    old = rng.random(500)
    new = old + rng.normal(0.01, 0.1, 500)
    theirs = stats.ttest_rel(new, old)
    found = paired(new, old, level=0.9)
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12)
    interval = theirs.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_seeds_are_averaged_and_do_not_count_as_users() -> None:
    old = np.array([0.0, 0.0, 0.0])
    new = np.array([[0.0, 3.0, 1.0], [2.0, 1.0, 5.0]])
    assert paired(new, old) == paired(np.array([1.0, 2.0, 3.0]), old)
    assert paired(np.tile(new, (50, 1)), old).p == pytest.approx(paired(new, old).p)


def test_the_same_difference_for_everyone_is_no_accident() -> None:
    same = np.full(4, 0.5)
    assert paired(same, same) == Comparison(0.0, 0.0, 0.0, 1.0, 4)
    assert paired(same + 0.25, same) == Comparison(0.25, 0.25, 0.25, 0.0, 4)


@pytest.mark.parametrize(("new", "old"), [((3,), (4,)), ((1,), (1,)), ((2, 3), (3, 2))])
def test_different_users_cannot_be_paired(new: tuple[int, ...], old: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="same two or more users"):
        paired(np.zeros(new), np.zeros(old))


def test_randomisation_counts_the_draws_that_are_as_extreme() -> None:
    differences = np.array([1.0, 2.0, 3.0, 4.0, -1.0, 0.0])
    signs = np.array(list(product([1, -1], repeat=6)))
    exact = (abs(signs @ differences) >= 9).mean()
    found = randomisation(differences, np.zeros(6), rng=np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=4 * (exact / 10_000) ** 0.5)


def test_randomisation_and_t_test_agree_where_there_are_many_users() -> None:
    rng = np.random.default_rng(1)
    old = rng.random(2000)
    new = old + rng.normal(0.02, 0.5, 2000)
    t = paired(new, old).p
    found = randomisation(new, old, rng=np.random.default_rng(0), rounds=2000)
    assert 0.01 < t < 0.5
    assert found == pytest.approx(t, abs=4 * (t / 2000) ** 0.5)


def test_nothing_to_distinguish_has_a_p_of_one() -> None:
    assert randomisation(np.ones(3), np.ones(3), rng=np.random.default_rng(0), rounds=9) == 1


def test_holm_is_what_it_is_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_no_correction_and_bonferronis(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(np.array(p) * len(p), 1) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
