"""With every default, a model learns what it can: it is not cut off, and not below popularity."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from recommenders.models.registry import MODELS, build
from recommenders.trainer import TrainerConfig
from tests.recommenders.models.planted import Planted, planted

NAMES = [name for name, entry in MODELS.items() if entry.trained]


@functools.cache
def here() -> Planted:
    return planted()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_with_every_default_a_model_converges_above_popularity(name: str) -> None:
    popularity = build("popularity", here().inputs, {}, np.random.default_rng(0))
    model, history = here().trained(name, {}, TrainerConfig())
    assert history.not_converged == []
    assert history.steps < history.budget
    reached = here().quality(model, here().validation)
    assert reached == pytest.approx(history.best)
    assert reached > here().quality(popularity, here().validation) + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bias_mf", "ncf"])
def test_twice_the_steps_with_no_early_end_find_nothing_better(name: str) -> None:
    # Of the other models, `make bench ONLY=defaults` shows it.
    model, history = here().trained(name, {}, TrainerConfig())
    reached = here().quality(model, here().validation)
    config = TrainerConfig(max_steps=2 * history.steps, patience=None)
    _, longer = here().trained(name, {}, config)
    assert longer.best is not None
    assert longer.best - reached <= 0.02


def test_a_training_that_is_cut_off_says_so() -> None:
    config = TrainerConfig(max_steps=20, eval_steps=5, learning_rate=1e-3)
    _, history = here().trained("bias_mf", {"items": "ids"}, config)
    assert history.not_converged == ["validation"]
