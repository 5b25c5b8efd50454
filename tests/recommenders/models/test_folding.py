from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from recommenders.models.folding import FoldIn, GraphFoldIn, few_of_each, mean_known
from recommenders.models.graph import Graph

ITEMS = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0]])
TRAIN = sparse.csr_array(
    np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], np.float32)
)


def test_the_mean_of_what_is_known_by_hand() -> None:
    assert mean_known(TRAIN, ITEMS)[[0, 1, 4]].tolist() == [[0.5, 0.5], [1, 1], [0, 0]]


def test_a_linear_law_between_items_and_ids_is_found() -> None:
    law = torch.tensor([[2.0, 0, 1], [0, 3, -1]])
    ids = mean_known(TRAIN, ITEMS) @ law + torch.tensor([1.0, -1, 0])
    ids[4] = 1000  # a user whom training knew nothing of is no example
    fold = FoldIn(TRAIN, ITEMS, ids)
    new = sparse.csr_array(np.array([[0, 1, 1, 0]], np.float32))
    expected = mean_known(new, ITEMS) @ law + torch.tensor([1.0, -1, 0])
    torch.testing.assert_close(fold.ids(new), expected, atol=0.02, rtol=0)


def test_a_user_of_whom_nothing_is_known_is_an_average_one() -> None:
    ids = torch.arange(15.0).reshape(5, 3)
    nothing = sparse.csr_array((1, 4), dtype=np.float32)
    torch.testing.assert_close(FoldIn(TRAIN, ITEMS, ids).ids(nothing)[0], ids[:4].mean(dim=0))


def test_without_any_training_users_there_is_no_number_to_go_wrong() -> None:
    nothing = sparse.csr_array((5, 4), dtype=np.float32)
    assert FoldIn(nothing, ITEMS, torch.ones(5, 3)).ids(TRAIN).tolist() == [[0, 0, 0]] * 5


def test_a_user_who_joins_the_graph_gets_what_one_in_it_gets_from_the_same_items() -> None:
    graph, users = Graph.of(TRAIN), torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    spread, _ = graph.propagate(users, ITEMS, 3)
    joined = GraphFoldIn(graph, users, ITEMS, 3).spread(users, TRAIN)
    torch.testing.assert_close(joined, spread)


def test_how_far_clicks_are_believed_is_what_users_differ_in_beside_what_they_vary_in() -> None:
    # Means are 1 and 5, each of two clicks that are 1 away from it: within 4 / 2 degrees of
    # freedom = 2; between 8 - 2 / 2 clicks = 7.
    items = torch.tensor([[0.0], [2], [4], [6]])
    train = sparse.csr_array(np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.float32))
    fold = FoldIn(train, items, torch.tensor([[-1.0], [1]]), credible=True)
    assert fold.doubt == pytest.approx(2 / 7)
    one, two = (
        fold.ids(sparse.csr_array(np.array([row], np.float32)))
        for row in ([0, 0, 0, 1], [0, 0, 1, 1])
    )
    # Differences from the centre of 3 are 3 and 2; they count 1 / (1 + 2/7) and 2 / (2 + 2/7).
    assert float(one / two) == pytest.approx((3 * 7 / 9) / (2 * 14 / 16), abs=1e-4)
    assert FoldIn(train, items, torch.zeros(2, 1)).doubt == 0


def test_some_of_each_users_clicks_are_drawn_from_one_to_all() -> None:
    train = sparse.csr_array(np.ones((2000, 8), np.float32))
    some = few_of_each(train, torch.Generator().manual_seed(0))
    counts = np.diff(some.indptr)
    assert set(counts.tolist()) == set(range(1, 9))
    # As likely one or two as three to eight: the logarithm of 1 to 9 is cut at 3.
    assert (counts <= 2).mean() == pytest.approx(0.5, abs=0.04)
    assert (some.toarray() <= train.toarray()).all()
    assert some.toarray().mean(axis=0) == pytest.approx([counts.mean() / 8] * 8, abs=0.04)
    single = sparse.csr_array(np.array([[0, 1], [0, 0]], np.float32))
    assert (few_of_each(single, torch.Generator()).toarray() == single.toarray()).all()
