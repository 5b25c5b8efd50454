from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from recommenders.models.folding import FoldIn, GraphFoldIn, mean_known
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
