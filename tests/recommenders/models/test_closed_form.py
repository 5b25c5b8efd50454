from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recommenders.models.base import Inputs, Recommender
from recommenders.models.dense import invert, product, solve
from recommenders.models.ease import EASE, EASEConfig, ease_weights
from recommenders.models.errors import ModelError
from recommenders.models.ials import IALS, IALSConfig
from recommenders.models.kernel_ridge import KernelRidge, KernelRidgeConfig
from recommenders.models.popularity import NoConfig, Popularity, Random
from recommenders.models.text_ease import TextEASE, TextEASEConfig

if TYPE_CHECKING:
    from pathlib import Path

N = 12
COLOURS = np.eye(2, dtype=np.float32)[np.arange(N) % 2]


def checkerboard(*, without: tuple[int, ...] = ()) -> Inputs:
    """Even users like even items, odd users odd ones, each but the one on the diagonal."""
    rows, columns = np.indices((N, N))
    likes = ((rows + columns) % 2 == 0) & (rows != columns)
    likes[:, list(without)] = False
    return Inputs(train=sparse.csr_array(likes.astype(np.float32)), text=COLOURS)


def fit_ease(inputs: Inputs) -> EASE:
    return EASE.fit(inputs, EASEConfig(regularisation=1.0))


def fit_kernel_ridge(inputs: Inputs) -> KernelRidge:
    return KernelRidge.fit(inputs, KernelRidgeConfig(regularisation=1.0))


def fit_text_ease(inputs: Inputs) -> TextEASE:
    return TextEASE.fit(inputs, TextEASEConfig(regularisation=1.0))


def fit_ials(inputs: Inputs) -> IALS:
    # Two tastes are two factors; singular values beyond them are all alike.
    return IALS.fit(inputs, IALSConfig(factors=2, iterations=8), np.random.default_rng(0))


def fit_popularity(inputs: Inputs) -> Popularity:
    return Popularity.fit(inputs, NoConfig())


def fit_random(inputs: Inputs) -> Random:
    return Random.fit(inputs, NoConfig(), np.random.default_rng(0))


LEARNING = [fit_ease, fit_kernel_ridge, fit_text_ease, fit_ials]
ALL = [*LEARNING, fit_popularity, fit_random]
Fit = Callable[[Inputs], Any]


def all_scores(model: Recommender, inputs: Inputs) -> np.ndarray:
    return model.scores(np.arange(inputs.n_users), inputs.train)


@pytest.mark.parametrize("fit", LEARNING)
def test_the_withheld_field_of_a_checkerboard_comes_first(fit: Fit) -> None:
    inputs = checkerboard()
    scores = all_scores(fit(inputs), inputs)
    scores[inputs.train.toarray() > 0] = -np.inf
    assert scores.argmax(axis=1).tolist() == list(range(N))


@pytest.mark.parametrize("fit", [fit_kernel_ridge, fit_text_ease])
def test_items_without_interactions_are_found_by_their_text(fit: Fit) -> None:
    inputs = checkerboard(without=(4, 7))
    scores = all_scores(fit(inputs), inputs)
    assert (scores[::2, 4] > scores[::2, 7]).all()
    assert (scores[1::2, 7] > scores[1::2, 4]).all()


@pytest.mark.parametrize("fit", LEARNING)
def test_users_whom_training_did_not_see_are_evaluated_by_what_is_known_of_them(fit: Fit) -> None:
    dense = checkerboard().train.toarray()
    dense[5] = 0
    inputs = Inputs(train=sparse.csr_array(dense), text=COLOURS)
    model = fit(inputs)
    known = np.zeros((2, N), np.float32)
    known[0, 3] = 1
    scores = model.scores(np.array([5, 5]), sparse.csr_array(known))
    assert scores[0, 1::2][[0, 2, 3, 4, 5]].min() > scores[0, ::2].max()
    # And one of whom nothing is known, as all training users together.
    others = np.delete(all_scores(model, inputs), 5, axis=0)
    np.testing.assert_allclose(scores[1], others.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("fit", ALL)
def test_a_model_that_is_read_scores_as_the_one_that_was_saved(fit: Fit, tmp_path: Path) -> None:
    inputs = checkerboard(without=(3,))
    model = fit(inputs)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    scores = all_scores(model, inputs)
    assert scores.shape == (N, N)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(all_scores(again, inputs), scores)
    np.testing.assert_array_equal(all_scores(fit(inputs), inputs), scores)
    other = Popularity if type(model) is not Popularity else EASE
    with pytest.raises(ModelError, match=f"holds '{model.name}', not '{other.name}'"):
        other.load(tmp_path / "model")


@pytest.mark.parametrize("fit", ALL)
def test_scores_of_a_user_do_not_depend_on_who_else_is_asked_about(fit: Fit) -> None:
    inputs = checkerboard()
    model = fit(inputs)
    some = np.array([7, 2])
    expected = all_scores(model, inputs)[some]
    np.testing.assert_allclose(model.scores(some, inputs.train[some]), expected, rtol=1e-5)
    with pytest.raises(ModelError, match="rows from 0 to"):
        model.scores(np.array([N]), inputs.train[:1])


def test_popularity_counts_and_chance_differs_by_seed() -> None:
    inputs = Inputs(train=sparse.csr_array(np.array([[1, 1, 0], [0, 1, 0]], np.float32)))
    assert all_scores(fit_popularity(inputs), inputs).tolist() == [[1, 2, 0]] * 2
    one, two = (Random.fit(inputs, NoConfig(), np.random.default_rng(seed)) for seed in (1, 2))
    assert len(np.unique(all_scores(one, inputs))) == 6
    assert (all_scores(one, inputs) != all_scores(two, inputs)).all()


def test_the_weights_of_ease_are_what_they_are_by_hand() -> None:
    # X'X = [[2, 1], [1, 1]]; with lambda 1, P = [[3, 1], [1, 2]]^-1 = [[2, -1], [-1, 3]] / 5.
    train = sparse.csr_array(np.array([[1, 1], [1, 0]], np.float32))
    found = ease_weights(train, regularisation=1.0, damping=0.0)
    np.testing.assert_allclose(found, [[0, 1 / 3], [1 / 2, 0]], atol=1e-6)


def test_damped_users_weigh_less_and_the_trace_stays() -> None:
    # Users of 2 and 1 interactions weigh 1/2 and 1: X'X is [[1.5, .5], [.5, .5]], of trace 2, and
    # times 3/2 [[9, 3], [3, 3]] / 4. With lambda 3/4, P = [[3, .75], [.75, 1.5]]^-1, so -P_01/P_11
    # is .75 / 3 and -P_10/P_00 is .75 / 1.5.
    # Users of none say nothing about it.
    train = sparse.csr_array(np.array([[1, 1], [0, 0], [1, 0], [0, 0]], np.float32))
    found = ease_weights(train, regularisation=0.75, damping=0.5)
    np.testing.assert_allclose(found, [[0, 1 / 4], [1 / 2, 0]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_each_column_of_ease_is_the_best_without_its_own_item(
    n_items: int, n_users: int, seed: int
) -> None:
    dense = (np.random.default_rng(seed).random((n_users, n_items)) < 0.5).astype(np.float32)
    found = ease_weights(sparse.csr_array(dense), regularisation=2.0, damping=0.0)
    for item in range(n_items):
        others = np.delete(dense, item, axis=1)
        gram = others.T @ others + 2 * np.eye(n_items - 1)
        best = np.linalg.solve(gram, others.T @ dense[:, item])
        np.testing.assert_allclose(np.delete(found[:, item], item), best, atol=1e-4)
        assert found[item, item] == 0


def test_kernel_ridge_is_what_it_is_by_hand() -> None:
    # Item 0 alone is warm, item 1 is at 60 degrees from it, item 2 has no text.
    text = np.array([[2, 0], [1, 3**0.5], [0, 0]], np.float32)
    train = sparse.csr_array(np.array([[1, 0, 0], [0, 0, 0]], np.float32))
    model = KernelRidge.fit(Inputs(train=train, text=text), KernelRidgeConfig(regularisation=3.0))
    scores = model.scores(np.array([0]), train[:1])
    np.testing.assert_allclose(scores, [[1 / 4, 1 / 8, 0]], atol=1e-7)
    # A second description, in which 1 is like 0 and 2 is unlike it, counts as much.
    words = sparse.csr_array(np.array([[5], [1], [-1]], np.float32))
    model = KernelRidge.fit(
        Inputs(train=train, text=text, profile_words=words),
        KernelRidgeConfig(variant="augmented", regularisation=3.0),
    )
    scores = model.scores(np.array([0]), train[:1])
    np.testing.assert_allclose(scores, [[1 / 4, 3 / 16, -1 / 8]], atol=1e-7)


def test_ease_with_text_is_ease_where_there_are_interactions() -> None:
    inputs = checkerboard(without=(4, 7))
    warm = np.delete(np.arange(N), [4, 7])
    plain, text = (all_scores(fit(inputs), inputs) for fit in (fit_ease, fit_text_ease))
    np.testing.assert_array_equal(text[:, warm], plain[:, warm])
    assert not plain[:, [4, 7]].any()


@pytest.mark.parametrize(
    ("fit", "gib"),
    [
        (lambda inputs: EASE.fit(inputs, EASEConfig(max_gib=1e-6)), "EASE of 12 items"),
        (lambda inputs: KernelRidge.fit(inputs, KernelRidgeConfig(max_gib=1e-6)), "kernel ridge"),
        (lambda inputs: TextEASE.fit(inputs, TextEASEConfig(max_gib=1e-6)), "EASE with text"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_beforehand(fit: Fit, gib: str) -> None:
    with pytest.raises(ModelError, match=rf"{gib}.* needs 0\.0 GiB, and max_gib allows 1e-06"):
        fit(checkerboard())


@pytest.mark.parametrize("fit", LEARNING)
def test_nothing_to_learn_from_is_refused(fit: Fit) -> None:
    with pytest.raises(ModelError, match="no training interactions"):
        fit(Inputs(train=sparse.csr_array((3, N), dtype=np.float32), text=COLOURS))


@pytest.mark.parametrize("fit", [fit_kernel_ridge, fit_text_ease])
def test_items_without_descriptions_are_refused(fit: Fit) -> None:
    with pytest.raises(ModelError, match="items have no text, neither words nor vectors"):
        fit(Inputs(train=checkerboard().train))
    config = KernelRidgeConfig(variant="augmented")
    with pytest.raises(ModelError, match="items have no profiles"):
        KernelRidge.fit(Inputs(train=checkerboard().train, text=COLOURS), config)


def test_words_are_read_where_there_are_some_and_vectors_elsewhere() -> None:
    inputs = checkerboard(without=(4,))
    words = sparse.csr_array(np.array(COLOURS)[:, ::-1].copy())
    config = KernelRidgeConfig()
    both = KernelRidge.fit(
        Inputs(train=inputs.train, text=np.eye(N, dtype=np.float32), text_words=words), config
    )
    alone = KernelRidge.fit(Inputs(train=inputs.train, text_words=words), config)
    np.testing.assert_array_equal(both.weights, alone.weights)
    with pytest.raises(ModelError, match=f"text_words have 2 rows, for {N} items"):
        Inputs(train=inputs.train, text_words=words[:2])


@pytest.mark.parametrize("n", [1, 5, 1500])
def test_dense_algebra_is_that_of_numpy(n: int) -> None:
    rng = np.random.default_rng(n)
    some = sparse.random_array((n, 40), density=0.2, rng=rng, dtype=np.float32).tocsr()
    matrix = product(some, some)
    np.testing.assert_allclose(matrix, (some @ some.T).toarray(), rtol=1e-5)
    matrix[np.diag_indices(n)] += 5
    right = rng.random((n, 3), np.float32)
    kept = matrix.copy()
    np.testing.assert_allclose(kept @ solve(matrix.copy(), right), right, atol=1e-3)
    inverse = invert(matrix)
    np.testing.assert_array_equal(inverse, inverse.T)
    np.testing.assert_allclose(kept @ inverse, np.eye(n), atol=1e-3)


def test_a_matrix_that_has_no_inverse_is_refused() -> None:
    with pytest.raises(ModelError, match="raise the regularisation"):
        invert(np.array([[1, 2], [2, 1]], np.float32))
    with pytest.raises(ModelError, match="raise the regularisation"):
        solve(np.array([[1, 2], [2, 1]], np.float32), np.ones((2, 1), np.float32))
