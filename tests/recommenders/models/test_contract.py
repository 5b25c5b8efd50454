"""What holds of every model that is trained by gradient: the registry says which there are."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from recommenders.models import registry
from recommenders.models.base import Inputs
from recommenders.models.errors import ModelError
from recommenders.models.registry import MODELS
from tests.recommenders.models.worlds import TRAINING, World, fitted, world

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recommenders.models.base import Recommender

NAMES = [name for name, entry in MODELS.items() if entry.trained]
WAYS: dict[str, dict[str, Any]] = {
    "base": {},
    "augmented": {"variant": "augmented"},
    "added": {"variant": "augmented", "fusion": "add", "items": "both"},
    "ids": {"items": "ids"},
    "pointwise": {"loss": "bce"},
    "own biases": {"items": "ids", "item_bias": "ids", "loss": "bce"},
    "regularised": {"items": "ids", "regularisation": 1e-4},
    "without own layer": {"items": "ids", "own_layer": False},
    "dropped": {"items": "ids", "negatives": 2, "dropout": 0.1, "loss": "bpr"},
    "new users": {
        "variant": "augmented",
        "fusion": "add",
        "user_dropout": 0.5,
        "fold_in": "credible",
    },
}
CASES = [
    pytest.param(name, way, id=f"{name}-{way}")
    for name in NAMES
    for way, options in WAYS.items()
    if options.keys() <= MODELS[name].config.model_fields.keys()
]
READ_TEXT = [case for case in CASES if WAYS[str(case.values[1])].get("items") != "ids"]


@functools.cache
def checkerboard() -> World:
    return world(blocks=2, cold_items=0, cold_users=0)


@functools.cache
def cold_world() -> World:
    return world(blocks=4, cold_items=3, cold_users=3)


@functools.cache
def in_cold_world(name: str, way: str) -> Recommender:
    # AlphaRec's wide network takes longer to learn from texts alone that their styles do not matter.
    steps = 320 if (name, way) == ("alpharec", "base") else TRAINING.max_steps
    training = TRAINING.model_copy(update={"max_steps": steps})
    return fitted(name, cold_world().inputs, WAYS[way], training=training)


def share_above(
    scores: NDArray[np.float32], user_blocks: NDArray[np.int64], item_blocks: NDArray[np.int64]
) -> float:
    """Returns how often an item of a user's block is above one of another; chance is a half."""
    mine = user_blocks[:, None] == item_blocks
    above = [(row[own][:, None] > row[~own]).mean() for row, own in zip(scores, mine, strict=True)]
    return float(np.mean(above))


@pytest.mark.parametrize(("name", "way"), CASES)
def test_the_withheld_item_comes_first(name: str, way: str) -> None:
    board = checkerboard()
    # Half the steps suffice here, where a step is an epoch; with more, a model that sees few items
    # learns by heart which of them it was shown as negatives.
    training = TRAINING.model_copy(update={"max_steps": 40})
    model = fitted(name, board.inputs, WAYS[way], training=training)
    users = np.arange(board.inputs.n_users)
    scores = model.scores(users, board.known(users))
    assert scores.dtype == np.float32
    assert scores.shape == (16, 16)
    scores[board.inputs.train.toarray() > 0] = -np.inf
    assert scores.argmax(axis=1).tolist() == board.withheld.tolist()


@pytest.mark.parametrize(("name", "way"), READ_TEXT)
def test_new_items_are_ranked_by_what_is_read_of_them(name: str, way: str) -> None:
    here = cold_world()
    users = np.flatnonzero(here.withheld >= 0)
    scores = in_cold_world(name, way).scores(users, here.known(users))[:, here.cold_items]
    blocks = here.item_blocks[here.cold_items]
    assert share_above(scores, here.user_blocks[users], blocks) > 0.9


@pytest.mark.parametrize(("name", "way"), CASES)
def test_new_users_are_folded_in_from_what_is_known_of_them(name: str, way: str) -> None:
    here = cold_world()
    warm = np.setdiff1d(np.arange(here.inputs.n_items), here.cold_items)
    model = in_cold_world(name, way)
    scores = model.scores(here.cold_users, here.known(here.cold_users))[:, warm]
    blocks = here.user_blocks[here.cold_users]
    assert share_above(scores, blocks, here.item_blocks[warm]) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_a_new_user_of_whom_only_a_profile_is_known_is_ranked_for_by_it(name: str) -> None:
    here = cold_world()
    warm = np.setdiff1d(np.arange(here.inputs.n_items), here.cold_items)
    known = here.known(here.cold_users, shown=0)
    assert known.nnz == 0
    scores = in_cold_world(name, "augmented").scores(here.cold_users, known)[:, warm]
    assert np.isfinite(scores).all()
    blocks = here.user_blocks[here.cold_users]
    assert share_above(scores, blocks, here.item_blocks[warm]) > 0.8


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "user_dropout" in MODELS[name].config.model_fields]
)
def test_clicks_alone_a_profile_alone_and_both_serve_a_new_user(name: str) -> None:
    here = cold_world()
    profiles = here.inputs.user_profiles
    assert profiles is not None
    model: Any = in_cold_world(name, "new users")
    clicks, nothing = here.known(here.cold_users, shown=1), here.known(here.cold_users, shown=0)
    warm = np.setdiff1d(np.arange(here.inputs.n_items), here.cold_items)
    blocks = here.user_blocks[here.cold_users], here.item_blocks[warm]
    own = profiles[here.cold_users]
    for known, read in ((clicks, None), (nothing, own), (clicks, own)):
        scores = model.new_user_scores(known, read)[:, warm]
        assert share_above(scores, *blocks) > 0.9
    average = model.new_user_scores(nothing)
    np.testing.assert_allclose(average, np.tile(average[:1], (len(average), 1)), atol=1e-5)


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_new_user_is_scored_as_a_new_user_with_the_same_clicks_and_profile(
    name: str, way: str
) -> None:
    here = cold_world()
    profiles = here.inputs.user_profiles
    assert profiles is not None
    model: Any = in_cold_world(name, way)
    known = here.known(here.cold_users)
    np.testing.assert_allclose(
        model.new_user_scores(known, profiles[here.cold_users]),
        model.scores(here.cold_users, known),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_new_users_clicks_and_profile_have_to_fit(name: str) -> None:
    here = cold_world()
    model: Any = in_cold_world(name, "augmented")
    known = here.known(here.cold_users)
    with pytest.raises(ModelError, match="known is of shape"):
        model.new_user_scores(known[:, :3])
    with pytest.raises(ModelError, match="profiles are of shape"):
        model.new_user_scores(known, np.ones((len(here.cold_users), 2), np.float32))


@pytest.mark.parametrize(("name", "way"), CASES)
def test_scores_do_not_depend_on_who_else_is_asked_for(name: str, way: str) -> None:
    here = cold_world()
    model, everybody = in_cold_world(name, way), np.arange(here.inputs.n_users)
    some = np.concatenate([here.cold_users[:2], everybody[:2], here.cold_users[-1:]])
    whole = model.scores(everybody, here.known(everybody))
    np.testing.assert_allclose(model.scores(some, here.known(some)), whole[some], atol=1e-5)
    none = np.arange(0)
    assert model.scores(none, here.known(none).reshape(0, here.inputs.n_items)).shape == (
        0,
        here.inputs.n_items,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_one_result_and_another_seed_another(name: str) -> None:
    board, short = checkerboard(), TRAINING.model_copy(update={"max_steps": 4})
    users = np.arange(board.inputs.n_users)
    options = WAYS["augmented"]
    state = torch.get_rng_state()
    first, again, other = (
        fitted(name, board.inputs, options, seed=seed, training=short).scores(
            users, board.known(users)
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("name", "way"), CASES)
def test_what_is_saved_scores_as_before(name: str, way: str, tmp_path: Path) -> None:
    here, model = cold_world(), in_cold_world(name, way)
    everybody = np.arange(here.inputs.n_users)
    known = here.known(everybody)
    model.save(tmp_path / "model")
    loaded = registry.load(tmp_path / "model")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.scores(everybody, known), model.scores(everybody, known))
    with pytest.raises(ModelError, match="not empty"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_built_anew_remembers_nothing(name: str) -> None:
    here, short = (
        world(blocks=3, cold_items=0, cold_users=0, seed=5),
        TRAINING.model_copy(update={"max_steps": 4}),
    )
    everybody = np.arange(here.inputs.n_users)
    alone = fitted(name, here.inputs, {}, training=short).scores(everybody, here.known(everybody))
    fitted(name, checkerboard().inputs, {}, training=short)
    after = fitted(name, here.inputs, {}, training=short).scores(everybody, here.known(everybody))
    np.testing.assert_array_equal(alone, after)


@pytest.mark.parametrize("name", NAMES)
def test_the_base_variant_reads_no_profile(name: str) -> None:
    here, short = checkerboard().inputs, TRAINING.model_copy(update={"max_steps": 1})
    bare = Inputs(train=here.train, text=here.text)
    users = np.arange(here.n_users)
    with_profiles, without = (
        fitted(name, inputs, {}, training=short).scores(users, here.train)
        for inputs in (here, bare)
    )
    np.testing.assert_array_equal(with_profiles, without)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_what_it_misses(name: str) -> None:
    train, rng = checkerboard().inputs.train, np.random.default_rng(0)
    with pytest.raises(ModelError, match=r"needs text|reads text"):
        registry.build(name, Inputs(train=train), {}, rng)
    inputs = Inputs(train=train, text=np.ones((16, 2), np.float32))
    with pytest.raises(ModelError, match="needs profiles"):
        registry.build(name, inputs, {"variant": "augmented"}, rng)


@pytest.mark.parametrize("name", NAMES)
def test_questions_that_do_not_fit_are_refused(name: str) -> None:
    board = checkerboard()
    model = registry.build(name, board.inputs, {}, np.random.default_rng(0))
    with pytest.raises(ModelError, match="known must be"):
        model.scores(np.arange(3), board.inputs.train[:2])
    with pytest.raises(ModelError, match="rows from 0 to 15"):
        model.scores(np.array([0, 16]), board.inputs.train[:2])


def test_an_unknown_model_or_option_is_named() -> None:
    rng, inputs = np.random.default_rng(0), checkerboard().inputs
    with pytest.raises(ModelError, match="no model 'lightgbm'; there are bias_mf"):
        registry.build("lightgbm", inputs, {}, rng)
    with pytest.raises(ModelError, match=r"embeding_size.*its options are .*embedding_size"):
        registry.build("lightgcn", inputs, {"embeding_size": 3}, rng)
    with pytest.raises(ModelError, match="layers"):
        registry.build("lightgcn", inputs, {"layers": 0}, rng)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    model = in_cold_world("lightgcn", "base")
    model.save(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        registry.load(tmp_path / "model")
    with pytest.raises(ModelError, match="is missing"):
        registry.load(tmp_path / "elsewhere")
