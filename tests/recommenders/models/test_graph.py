from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional

from recommenders.models.graph import Graph

TRAIN = sparse.csr_array(
    np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]], np.float32)
)  # the last item and the fourth user have no edge


def adjacency(users: np.ndarray) -> torch.Tensor:
    """The whole normalised graph as a dense matrix, from a dense matrix of users x items."""
    n_users, n_items = users.shape
    whole = np.zeros((n_users + n_items,) * 2)
    whole[:n_users, n_users:] = users
    whole[n_users:, :n_users] = users.T
    degrees = whole.sum(axis=1)
    roots = np.divide(1, np.sqrt(degrees), where=degrees > 0, out=np.zeros_like(degrees))
    return torch.from_numpy(roots[:, None] * whole * roots)


def dense_mean(users: np.ndarray, vectors: torch.Tensor, layers: int) -> torch.Tensor:
    matrix = adjacency(users)
    return sum(torch.matrix_power(matrix, k) @ vectors for k in range(layers + 1)) / (layers + 1)


def vectors(seed: int = 0) -> torch.Tensor:
    return torch.randn(9, 3, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def dense(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Which edges each half has, both as users x items."""
    halves = [
        sparse.csr_array(
            (half.values.numpy(), half.columns.numpy(), half.bounds.numpy()), shape=shape
        ).toarray()
        for half, shape in ((graph.users, TRAIN.shape), (graph.items, TRAIN.shape[::-1]))
    ]
    return halves[0], halves[1].T


def test_a_small_graph_by_hand() -> None:
    # One user with two items, of which the second has a further user.
    graph = Graph.of(sparse.csr_array(np.array([[1, 1], [0, 1]], np.float32)))
    users, items = graph.propagate(torch.tensor([[1.0], [0.0]]), torch.zeros(2, 1), 1)
    assert users[:, 0].tolist() == [0.5, 0]
    assert items[:, 0].tolist() == pytest.approx([0.5 / 2**0.5, 0.5 / 2])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_without_the_own_layer_it_is_the_mean_of_the_other_powers(layers: int) -> None:
    graph, first = Graph.of(TRAIN), vectors().requires_grad_()
    expected = dense_mean(TRAIN.toarray(), first, layers) * (layers + 1) / layers - first / layers
    users, items = graph.propagate(first[:5], first[5:], layers, own_layer=False)
    found = torch.cat([users, items])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    weights = vectors(1)
    grads = [torch.autograd.grad((each * weights).sum(), first)[0] for each in (found, expected)]
    torch.testing.assert_close(*grads, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_propagation_is_the_mean_of_powers_of_the_normalised_graph(layers: int) -> None:
    graph, first = Graph.of(TRAIN), vectors()
    expected = dense_mean(TRAIN.toarray(), first, layers)
    users, items = graph.propagate(first[:5], first[5:], layers)
    # The weights of edges are float32, whatever the embeddings are.
    torch.testing.assert_close(torch.cat([users, items]), expected, atol=1e-6, rtol=1e-6)
    alone = graph.propagate_users(first[:5], first[5:], layers)
    torch.testing.assert_close(alone, users, atol=1e-12, rtol=0)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_gradient_is_that_of_finite_differences(layers: int) -> None:
    graph, first = Graph.of(TRAIN), vectors()
    users, items = (part.clone().requires_grad_() for part in (first[:5], first[5:]))
    for spread in (graph.propagate, graph.propagate_users):
        assert torch.autograd.gradcheck(
            lambda u, i, spread=spread: spread(u, i, layers), (users, items), eps=1e-3
        )


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_gradient_is_that_of_the_dense_matrix(layers: int) -> None:
    graph, weights = Graph.of(TRAIN), vectors(1)
    ours = vectors().requires_grad_()
    users, items = graph.propagate(ours[:5], ours[5:], layers)
    (torch.cat([users, items]) * weights).sum().backward()
    theirs = vectors().requires_grad_()
    (dense_mean(TRAIN.toarray(), theirs, layers) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-6)


def test_both_halves_drop_the_same_edges_and_weigh_them_by_what_is_left() -> None:
    rng = torch.Generator().manual_seed(0)
    sizes = set()
    for _ in range(30):
        dropped = Graph.of(TRAIN).without_edges(0.4, rng)
        of_users, of_items = dense(dropped)
        np.testing.assert_array_equal(of_users, of_items)
        assert ((of_users > 0) <= (TRAIN.toarray() > 0)).all()
        expected = adjacency((of_users > 0).astype(float))[:5, 5:].numpy()
        np.testing.assert_allclose(of_users, expected, rtol=1e-6)
        sizes.add(int((of_users > 0).sum()))
    assert len(sizes) > 1


def test_a_graph_of_which_edges_were_dropped_can_lose_more() -> None:
    rng = torch.Generator().manual_seed(2)
    once = Graph.of(TRAIN).without_edges(0.2, rng)
    twice = once.without_edges(0.5, rng)
    of_users, of_items = dense(twice)
    np.testing.assert_array_equal(of_users, of_items)
    assert 0 < (of_users > 0).sum() < (dense(once)[0] > 0).sum()


def test_as_many_edges_are_dropped_as_asked() -> None:
    rng = np.random.default_rng(0)
    train = sparse.csr_array((rng.random((200, 200)) < 0.5).astype(np.float32))
    graph = Graph.of(train).without_edges(0.25, torch.Generator().manual_seed(0))
    assert len(graph.users.columns) / train.nnz == pytest.approx(0.75, abs=0.02)
    whole = Graph.of(train).without_edges(0, torch.Generator())
    assert len(whole.users.columns) == train.nnz


def test_noise_has_its_length_and_stays_in_the_orthant() -> None:
    graph, first = Graph.of(TRAIN), vectors()
    noisy, plain = (
        torch.cat(
            graph.propagate(
                first[:5], first[5:], 1, noise=noise, generator=torch.Generator().manual_seed(0)
            )
        )
        for noise in (0.3, 0)
    )
    moved = (noisy - plain) * 2  # one of two layers
    linked = [0, 1, 2, 4, 5, 6, 7]
    lengths = moved.norm(dim=1)
    torch.testing.assert_close(lengths[linked], torch.full((7,), 0.3, dtype=torch.double))
    assert lengths[[3, 8]].tolist() == [0, 0]  # nothing to tell an orthant by
    layer = (plain * 2 - first)[linked]
    assert (moved[linked].sign() * layer.sign() >= 0).all()


def test_noise_is_a_constant_to_the_gradient() -> None:
    graph = Graph.of(TRAIN)
    grads = []
    for noise in (0.0, 0.5):
        first = vectors().requires_grad_()
        out = graph.propagate(first[:5], first[5:], 2, noise=noise, generator=torch.Generator())
        (out[0].sum() + out[1].sum()).backward()
        grads.append(first.grad)
    torch.testing.assert_close(*grads)


def test_half_precision_is_spread_in_float32() -> None:
    graph = Graph.of(TRAIN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = functional.linear(torch.randn(9, 3), torch.randn(3, 3))
        assert mixed.dtype == torch.bfloat16
        users, items = graph.propagate(mixed[:5], mixed[5:], 2)
    assert users.dtype == items.dtype == torch.float32
