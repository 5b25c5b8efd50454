from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from recommenders.models import registry
from recommenders.models.base import Inputs
from recommenders.models.errors import ModelError
from recommenders.models.linear_tower import LinearTower, LinearTowerConfig
from tests.recommenders.models.test_contract import share_above
from tests.recommenders.models.worlds import World, world

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"factors": 8, "draws": 20}
WAYS: dict[str, dict[str, Any]] = {
    "base": SMALL,
    "own": {**SMALL, "variant": "augmented"},
    "items": {**SMALL, "variant": "augmented", "new_user_profiles": "items"},
}
HERE = world(blocks=4, cold_items=0, cold_users=3)


def fit(here: World, options: dict[str, Any], seed: int = 1) -> LinearTower:
    config = LinearTowerConfig.model_validate(options)
    return LinearTower.fit(here.inputs, config, np.random.default_rng(seed))


def share(scores: np.ndarray) -> float:
    return share_above(scores, HERE.user_blocks[HERE.cold_users], HERE.item_blocks)


@pytest.mark.parametrize("way", WAYS)
def test_the_withheld_item_is_above_those_of_other_blocks(way: str) -> None:
    users = np.flatnonzero(HERE.withheld >= 0)
    scores = fit(HERE, WAYS[way]).scores(users, HERE.known(users))
    withheld = scores[np.arange(len(users)), HERE.withheld[users]]
    others = np.where(HERE.user_blocks[users][:, None] == HERE.item_blocks, -np.inf, scores).max(
        axis=1
    )
    assert (withheld > others).mean() > 0.8


@pytest.mark.parametrize("way", ["own", "items"])
def test_clicks_alone_a_profile_alone_and_both_serve_a_new_user(way: str) -> None:
    model = fit(HERE, WAYS[way])
    profiles = HERE.inputs.user_profiles
    assert profiles is not None
    one, nothing = HERE.known(HERE.cold_users, shown=1), HERE.known(HERE.cold_users, shown=0)
    own = profiles[HERE.cold_users]
    for known, read in ((one, None), (nothing, own), (one, own)):
        assert share(model.new_user_scores(known, read)) > 0.9
    # Of whom nothing is known gets what everybody chooses.
    scores = model.new_user_scores(nothing)
    assert np.ptp(scores, axis=0).max() < 1e-6


def test_how_often_items_are_chosen_decides_where_nothing_is_known() -> None:
    dense = np.zeros((30, 4), np.float32)
    for item, count in enumerate((25, 15, 10, 5)):
        dense[np.random.default_rng(item).permutation(30)[:count], item] = 1
    inputs = Inputs(train=sparse.csr_array(dense))
    config = LinearTowerConfig(factors=3, draws=5)
    model = LinearTower.fit(inputs, config, np.random.default_rng(0))
    scores = model.new_user_scores(sparse.csr_array(np.zeros((1, 4), np.float32)))
    assert scores.argmax() == 0


@pytest.mark.parametrize("way", WAYS)
def test_what_is_saved_scores_as_before(way: str, tmp_path: Path) -> None:
    model, everybody = fit(HERE, WAYS[way]), np.arange(HERE.inputs.n_users)
    model.save(tmp_path / "model")
    loaded = registry.load(tmp_path / "model")
    known = HERE.known(everybody)
    np.testing.assert_array_equal(loaded.scores(everybody, known), model.scores(everybody, known))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        registry.load(tmp_path / "model")


def test_a_seed_gives_one_result_and_another_seed_another() -> None:
    known = HERE.known(HERE.cold_users)
    first, again, other = (
        fit(HERE, WAYS["own"], seed).new_user_scores(known) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_missing_is_said() -> None:
    rng, train = np.random.default_rng(0), HERE.inputs.train
    with pytest.raises(ModelError, match="needs profiles of users"):
        registry.build("linear_tower", Inputs(train=train), {"variant": "augmented"}, rng)
    users = Inputs(train=train, user_profiles=HERE.inputs.user_profiles)
    with pytest.raises(ModelError, match="needs profiles of items"):
        registry.build("linear_tower", users, WAYS["items"], rng)
    nobody = sparse.csr_array(train.shape, dtype=np.float32)
    with pytest.raises(ModelError, match="no training interactions"):
        registry.build("linear_tower", Inputs(train=nobody), {}, rng)
    with pytest.raises(ModelError, match="no factors"):
        registry.build("linear_tower", Inputs(train=train[[0]]), {}, rng)
