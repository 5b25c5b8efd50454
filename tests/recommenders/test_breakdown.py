from __future__ import annotations

import numpy as np
import pytest

from recommenders.breakdown import by_history, by_popularity, doubling, quantiles
from recommenders.evaluation import evaluate
from tests.recommenders.evaluated import Table, part

SCORES = np.tile(np.array([6, 5, 4, 3, 2, 1], np.float32), (4, 1))
PART = part([[0], [0, 1, 2], [], [1]], [[1, 2], [3, 5], [5], [0]], 6)
EVALUATED = evaluate(Table(SCORES), PART, cutoffs=[1, 2])


def test_doubling_bins_end_above_the_highest_count() -> None:
    assert doubling(0).tolist() == [0, 1]
    assert doubling(1).tolist() == [0, 1, 2]
    assert doubling(8).tolist() == [0, 1, 2, 4, 8, 16]
    assert doubling(15).tolist() == [0, 1, 2, 4, 8, 16]
    assert doubling(16).tolist() == [0, 1, 2, 4, 8, 16, 32]


def test_a_bin_has_the_same_name_wherever_the_counts_end() -> None:
    (first,) = by_popularity(EVALUATED, PART, np.array([9, 9, 9, 9, 9, 9]))
    first_of_more, *_ = by_popularity(EVALUATED, PART, np.array([9, 9, 9, 99, 9, 9]))
    assert first == first_of_more == "8-15"


def test_quantile_bins_keep_equal_counts_together() -> None:
    assert quantiles(np.array([1, 2, 3, 4, 5, 6]), 3).tolist() == [0, 3, 5]
    assert quantiles(np.array([0, 0, 0, 0, 9]), 4).tolist() == [0]


def test_users_are_divided_by_what_is_known_of_them() -> None:
    found = by_history(EVALUATED, PART)
    assert {label: evaluated.users.tolist() for label, evaluated in found.items()} == {
        "0": [2],
        "1": [0, 3],
        "2-3": [1],
    }
    assert found["1"].means()["recall@1"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["2-3"].values["recall@2"].tolist() == [0.5]
    assert found["1"].ranked.tolist() == [[1, 2], [0, 2]]


def test_bins_can_be_given() -> None:
    found = by_history(EVALUATED, PART, np.array([0, 2]))
    assert list(found) == ["0-1", "2 and more"]


def test_relevant_items_are_divided_by_their_popularity() -> None:
    popularity = np.array([9, 8, 1, 1, 0, 1])
    found = by_popularity(EVALUATED, PART, popularity)
    assert {label: evaluated.users.tolist() for label, evaluated in found.items()} == {
        "1": [0, 1, 2],
        "8-15": [0, 3],
    }
    assert found["8-15"].values["recall@1"].tolist() == [1, 1]
    assert found["1"].values["recall@2"].tolist() == [1, 0.5, 0]
    assert found["1"].values["recall@1"].tolist() == [0, 0.5, 0]


def test_one_bin_of_popularity_is_the_whole() -> None:
    found = by_popularity(EVALUATED, PART, np.zeros(6, np.int64))
    assert found["0"].means() == EVALUATED.means()
