"""Singular vectors that the data determines, and none that a library chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from recommenders.models import factors, linear_tower
from recommenders.models.errors import ModelError
from recommenders.models.factors import Factors, leading_factors
from recommenders.models.linear_tower import LinearTower, LinearTowerConfig
from tests.recommenders.models.worlds import world

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = world(blocks=4, cold_items=0, cold_users=3)


def found(train: sparse.csr_array, count: int, seed: int = 0) -> Factors:
    start = np.random.default_rng(seed).standard_normal(min(train.shape))
    return leading_factors(train, count, start)


def projector(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    product: NDArray[np.float64] = wide @ wide.T
    return product


def diagonal(values: list[float]) -> sparse.csr_array:
    """Returns a matrix with these singular values, each item its own singular vector."""
    return sparse.csr_array(np.diag(np.array(values, np.float32)))


def test_a_group_of_equal_values_at_the_cut_is_left_out_whole() -> None:
    # Each block is a matrix of ones without its diagonal: a value of 7, and seven of 1.
    result = found(HERE.inputs.train, 8)
    assert result.groups.tolist() == [0, 0, 0, 0]
    same = (HERE.item_blocks[:, None] == HERE.item_blocks) / 8
    np.testing.assert_allclose(projector(result.vectors), same, atol=1e-6)


@pytest.mark.parametrize("dense", [True, False])
def test_values_that_differ_are_all_kept(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not dense:
        monkeypatch.setattr(factors, "DENSE_LIMIT", 1)
    result = found(diagonal([9, 7, 5, 4, 3, 2, 1]), 3)
    assert result.groups.tolist() == [0, 1, 2]
    np.testing.assert_allclose(projector(result.vectors), np.diag([1, 1, 1, 0, 0, 0, 0]), atol=1e-6)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize(
    ("values", "count", "groups"),
    [
        ([5, 3, 3, 1, 1, 1], 1, [0]),
        ([5, 3, 3, 1, 1, 1], 2, [0]),
        ([5, 3, 3, 1, 1, 1], 3, [0, 1, 1]),
        ([5, 3, 3, 1, 1, 1], 4, [0, 1, 1]),
        # A rank of two: what has no singular value is no factor.
        ([5, 3, 0, 0, 0, 0], 4, [0, 1]),
    ],
)
def test_where_the_cut_is(
    values: list[float],
    count: int,
    groups: list[int],
    dense: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not dense:
        monkeypatch.setattr(factors, "DENSE_LIMIT", 1)
    assert found(diagonal(values), count).groups.tolist() == groups


def test_as_many_factors_as_there_are_but_one() -> None:
    assert found(diagonal([5, 4, 3]), 10).groups.tolist() == [0, 1]


def test_tall_and_wide_matrices_have_the_vectors_of_one_another() -> None:
    table = sparse.csr_array((np.random.default_rng(0).random((40, 17)) < 0.3).astype(np.float32))
    _, _, right = np.linalg.svd(table.toarray().astype(np.float64))
    left, _, _ = np.linalg.svd(table.toarray().astype(np.float64))
    np.testing.assert_allclose(
        projector(found(table, 5).vectors), right[:5].T @ right[:5], atol=1e-5
    )
    np.testing.assert_allclose(
        projector(found(table.T.tocsr(), 5).vectors), left[:, :5] @ left[:, :5].T, atol=1e-5
    )


def test_nothing_to_choose_between_is_refused() -> None:
    with pytest.raises(ModelError, match=r"the 2 largest singular values .* are equal to the next"):
        found(diagonal([1, 1, 1, 1]), 2)
    with pytest.raises(ModelError, match="no factors"):
        found(diagonal([1]), 2)


def test_the_mean_over_a_group_is_that_of_each_member() -> None:
    some = Factors(np.zeros((1, 4), np.float32), np.array([0, 1, 1, 2]))
    assert some.averaged(np.array([1.0, 2.0, 4.0, 5.0])).tolist() == [1, 3, 3, 5]


@pytest.mark.parametrize("way", ["base", "own", "items"])
def test_scores_do_not_depend_on_which_vectors_of_a_group_a_library_returns(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {} if way == "base" else {"variant": "augmented", "new_user_profiles": way}
    config = LinearTowerConfig.model_validate({"factors": 8, "draws": 5, **options})
    users = np.arange(HERE.inputs.n_users)

    def scores() -> NDArray[np.float32]:
        model = LinearTower.fit(HERE.inputs, config, np.random.default_rng(1))
        return model.scores(users, HERE.known(users))

    def rotated(*args: object) -> Factors:
        whole = leading_factors(*args)  # type: ignore[arg-type]
        rotation, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((4, 4)))
        assert whole.groups.tolist() == [0, 0, 0, 0]
        return Factors((whole.vectors @ rotation).astype(np.float32), whole.groups)

    plain = scores()
    monkeypatch.setattr(linear_tower, "leading_factors", rotated)
    np.testing.assert_allclose(scores(), plain, atol=1e-5)
