"""iALS minimises the published loss, in closed form for each side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recommenders.models.base import Inputs
from recommenders.models.ials import IALS, IALSConfig, _gram, solved


def some(users: int = 9, items: int = 7, *, seed: int = 0) -> sparse.csr_array:
    dense = np.random.default_rng(seed).random((users, items)) < 0.4
    dense[0], dense[:, 1] = False, False  # nobody is known of, and nobody chose it
    return sparse.csr_array(dense.astype(np.float32))


def loss(
    train: sparse.csr_array,
    users: np.ndarray,
    items: np.ndarray,
    config: IALSConfig,
) -> float:
    """Returns L_S + alpha_0 L_I + lambda R, term by term."""
    dense, alpha = train.toarray(), config.unobserved_weight
    scores = users @ items.T
    seen = ((1 - scores) ** 2)[dense > 0].sum()
    of_users = dense.sum(axis=1) + alpha * dense.shape[1]
    of_items = dense.sum(axis=0) + alpha * dense.shape[0]
    penalty = (of_users**config.exponent * (users**2).sum(axis=1)).sum()
    penalty += (of_items**config.exponent * (items**2).sum(axis=1)).sum()
    return float(seen + alpha * (scores**2).sum() + config.regularisation * penalty)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("side", ["users", "items"])
def test_no_other_vectors_of_a_side_have_a_lower_loss(side: str, exponent: float) -> None:
    config = IALSConfig(factors=3, unobserved_weight=0.3, regularisation=0.2, exponent=exponent)
    train, rng = some(), np.random.default_rng(1)
    matrix = train if side == "users" else train.T.tocsr()
    others = rng.standard_normal((matrix.shape[1], 3)).astype(np.float32)
    best = solved(matrix, others, _gram(others), config)
    least = loss(matrix, best, others, config)
    for _ in range(20):
        moved = best + rng.standard_normal(best.shape) * 0.01
        assert loss(matrix, moved, others, config) > least
    assert not best[np.diff(matrix.indptr) == 0].any()


def test_each_iteration_lowers_the_loss() -> None:
    train, losses = some(30, 20), []
    for iterations in (1, 2, 4, 8):
        config = IALSConfig(factors=4, iterations=iterations, regularisation=0.01)
        model = IALS.fit(Inputs(train=train), config, np.random.default_rng(0))
        losses.append(loss(train, model.users, model.items, config))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_a_vector_is_what_it_is_by_hand() -> None:
    # One factor, items 2 and 1; the user knows the first: 2 / (4 + 0.5 * 5 + 0.1 * (1 + 0.5 * 2)).
    items = np.array([[2], [1]], np.float32)
    config = IALSConfig(factors=1, unobserved_weight=0.5, regularisation=0.1)
    known = sparse.csr_array(np.array([[1, 0]], np.float32))
    found = solved(known, items, _gram(items), config)
    np.testing.assert_allclose(found, [[2 / 6.7]], rtol=1e-6)


def test_rows_of_any_length_are_solved_alike() -> None:
    # Rows are solved in blocks of similar length, and padded.
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.arange(40))
    dense = np.zeros((40, 50), np.float32)
    for row, length in enumerate(lengths):
        dense[row, rng.choice(50, length, replace=False)] = 1
    others, config = rng.standard_normal((50, 5)).astype(np.float32), IALSConfig(factors=5)
    whole = solved(sparse.csr_array(dense), others, _gram(others), config)
    for row in range(40):
        alone = solved(sparse.csr_array(dense[row : row + 1]), others, _gram(others), config)
        np.testing.assert_allclose(whole[row], alone[0], rtol=1e-5, atol=1e-6)


def test_a_new_user_with_a_training_users_items_is_scored_alike_and_seeds_differ() -> None:
    train = some(30, 20)
    one, again, other = (
        IALS.fit(Inputs(train=train), IALSConfig(factors=4), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    users = np.arange(1, 30)
    np.testing.assert_allclose(
        one.new_user_scores(train[users]), one.scores(users, train[users]), atol=1e-5
    )
    np.testing.assert_array_equal(one.items, again.items)
    assert not np.array_equal(one.items, other.items)


def test_who_knows_only_what_nobody_chose_gets_the_average() -> None:
    train = some()
    model = IALS.fit(Inputs(train=train), IALSConfig(factors=3), np.random.default_rng(0))
    known = np.zeros((2, 7), np.float32)
    known[0, 1] = 1
    scores = model.new_user_scores(sparse.csr_array(known))
    average = (model.users[1:] @ model.items.T).mean(axis=0)
    np.testing.assert_allclose(scores, [average, average], atol=1e-5)
