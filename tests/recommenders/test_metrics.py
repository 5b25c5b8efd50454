"""Values worked out by hand. Agreement with another library: test_metrics_ranx.py."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recommenders import metrics


def relevance(rows: list[list[int]], n_items: int) -> sparse.csr_array:
    pairs = [(user, item) for user, items in enumerate(rows) for item in items]
    users, items = zip(*pairs, strict=True)
    ones = np.ones(len(pairs), np.float32)
    return sparse.csr_array((ones, (users, items)), shape=(len(rows), n_items))


RANKED = np.array([[3, 0, 4, 1], [2, 0, 1, 3], [0, 1, 2, 3], [4, 1, -1, -1]])
RELEVANT = relevance([[0, 1, 2], [2], [4], [1, 4]], 5)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("recall@1", [0, 1, 0, 1 / 2]),
        ("recall@2", [1 / 3, 1, 0, 1]),
        ("recall@4", [2 / 3, 1, 0, 1]),
        ("ndcg@1", [0, 1, 0, 1]),
        ("ndcg@2", [(1 / log2(3)) / (1 + 1 / log2(3)), 1, 0, 1]),
        ("ndcg@4", [(1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4)), 1, 0, 1]),
        ("mrr@1", [0, 1, 0, 1]),
        ("mrr@2", [1 / 2, 1, 0, 1]),
        ("mrr@4", [1 / 2, 1, 0, 1]),
        ("hit_rate@1", [0, 1, 0, 1]),
        ("hit_rate@2", [1, 1, 0, 1]),
        ("hit_rate@4", [1, 1, 0, 1]),
    ],
)
def test_metrics_are_what_they_are_by_hand(name: str, values: list[float]) -> None:
    found = metrics.per_user(RANKED, RELEVANT, [1, 2, 4])
    assert found[name].dtype == np.float64
    np.testing.assert_allclose(found[name], values, atol=1e-15)
    assert len(found) == 12


def test_an_unfilled_place_is_no_hit_even_beside_the_last_item_of_another_user() -> None:
    ranked = np.array([[-1, -1], [-1, -1]])
    assert not metrics.hits(ranked, relevance([[4], [0]], 5)).any()


def test_recall_divides_by_all_that_is_relevant_though_the_list_is_shorter() -> None:
    found = metrics.per_user(np.array([[0, 1]]), relevance([[0, 1, 2, 3]], 4), [2])
    assert found["recall@2"].tolist() == [0.5]
    assert found["ndcg@2"].tolist() == [1.0]


@pytest.mark.parametrize("cutoffs", [[], [0], [5], [2, 5]])
def test_cutoffs_that_the_lists_do_not_have_are_refused(cutoffs: list[int]) -> None:
    with pytest.raises(ValueError, match="must be from 1 to 4"):
        metrics.per_user(RANKED, RELEVANT, cutoffs)


def test_users_of_whom_nothing_can_be_said_are_refused() -> None:
    empty = sparse.csr_array((1, 5), dtype=np.float32)
    with pytest.raises(ValueError, match="row 0 has no relevant item"):
        metrics.per_user(RANKED[:1], empty, [1])
    with pytest.raises(ValueError, match="for 4 users"):
        metrics.per_user(RANKED[:3], RELEVANT, [1])


@st.composite
def lists(draw: st.DrawFn) -> tuple[np.ndarray, sparse.csr_array]:
    n_items = draw(st.integers(2, 12))
    order = st.permutations(range(n_items))
    wanted = st.sets(st.integers(0, n_items - 1), min_size=1)
    rows = draw(st.lists(st.tuples(order, wanted), min_size=1, max_size=5))
    ranked = np.array([order for order, _ in rows])
    return ranked, relevance([sorted(wanted) for _, wanted in rows], n_items)


@settings(max_examples=50, deadline=None)
@given(lists())
def test_metrics_are_shares_that_agree_with_each_other(
    case: tuple[np.ndarray, sparse.csr_array],
) -> None:
    ranked, relevant = case
    n = ranked.shape[1]
    found = metrics.per_user(ranked, relevant, range(1, n + 1))
    for values in found.values():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    for k in range(2, n + 1):
        for name in ("recall", "mrr", "hit_rate"):
            assert (found[f"{name}@{k}"] >= found[f"{name}@{k - 1}"]).all()
    assert (found[f"recall@{n}"] == 1).all()
    for k in range(1, n + 1):
        hit = found[f"hit_rate@{k}"]
        for name in ("recall", "ndcg", "mrr"):
            assert ((found[f"{name}@{k}"] > 0) == (hit > 0)).all()


def test_exposure_counts_lists_and_gini_how_unevenly_they_spread() -> None:
    candidates = np.array([1, 3, 4])
    even = metrics.exposure(np.array([[1, 3], [4, 1], [3, 4]]), candidates)
    assert even.tolist() == [2, 2, 2]
    assert metrics.coverage(even) == 1
    assert metrics.gini(even) == 0
    one = metrics.exposure(np.array([[3, -1], [3, -1]]), candidates)
    assert one.tolist() == [0, 2, 0]
    assert metrics.coverage(one) == pytest.approx(1 / 3)
    assert metrics.gini(one) == pytest.approx(2 / 3)
    assert metrics.gini(np.array([1, 0, 3])) == pytest.approx(1 / 2)
