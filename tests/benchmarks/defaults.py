"""Defaults: what a model reaches with every default, beside popularity and its own long training.

On MovieLens latest-small (100,000 ratings), where an earlier release ended below popularity and said
nothing. Models that read texts get none here: items have ids.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recommenders.data.negatives import NegativeSampler
from recommenders.data.readers.movielens import read_ml_latest
from recommenders.data.split import WARM
from recommenders.data.splits.per_user import RandomSplit
from recommenders.evaluation import evaluate
from recommenders.models.base import Inputs
from recommenders.models.registry import MODELS, build
from recommenders.trainer import TrainerConfig, train
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.ml_1m import FOLDER as ML_1M

if TYPE_CHECKING:
    from recommenders.data.split import Split
    from recommenders.training_log import History
    from tests.benchmarks.stack import Stack

FOLDER = ML_1M.with_name("ml-latest-small")
METRIC = "ndcg@20"
_SEED, _THREADS = 1, 2
_LONGER = 3
"""Steps of the long training, over those of the one with every default."""


def measure(stack: Stack) -> list[Figure]:
    del stack
    if not FOLDER.is_dir():
        print(f"skipped: {FOLDER} is not there; RECLM_TEST_DATA may name another place")
        return []
    torch.set_num_threads(_THREADS)
    split = RandomSplit(validation=0.1, test=0.1, seed=0).divide(read_ml_latest(FOLDER))
    popularity, _ = _reached("popularity", split, TrainerConfig())
    figures = []
    for name, entry in MODELS.items():
        if not entry.trained or "items" not in entry.config.model_fields:
            continue
        started = time.process_time()
        found, history = _reached(name, split, TrainerConfig())
        assert history is not None
        seconds = time.process_time() - started
        config = TrainerConfig(max_steps=_LONGER * history.steps, patience=None)
        longer, long_history = _reached(name, split, config)
        assert long_history is not None
        notes: dict[str, object] = {
            METRIC: f"{found:.4f}, popularity {popularity:.4f}, long training {longer:.4f}",
            "best step": f"{history.best_step} of {history.budget}, long {long_history.best_step}"
            f" of {long_history.budget}",
            "converged": not history.not_converged,
            "CPU s": round(seconds),
        }
        figures += [
            Figure(
                f"defaults.{name}.over_popularity", found - popularity, METRIC, at_least(0), notes
            ),
            Figure(f"defaults.{name}.below_long_training", longer - found, METRIC, at_most(0.02)),
        ]
    return figures


def _reached(name: str, split: Split, config: TrainerConfig) -> tuple[float, History | None]:
    """Returns NDCG@20 on test, of what is best on validation, and the log of the training."""
    rng, scenario = np.random.default_rng(_SEED), split.scenarios[WARM]
    options = {"items": "ids"} if "items" in MODELS[name].config.model_fields else {}
    model: Any = build(name, Inputs(train=split.train), options, rng)
    history = None
    if MODELS[name].trained:
        history = train(
            model,
            config,
            draw=NegativeSampler(split.train).draw,
            rng=rng,
            validate=lambda model: evaluate(model, scenario.validation, cutoffs=(20,)).means()[
                METRIC
            ],
        )
    return evaluate(model, scenario.test, cutoffs=(20,)).means()[METRIC], history
