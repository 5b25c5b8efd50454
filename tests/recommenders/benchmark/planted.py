"""A planted world for what the gate promises: texts tell half of an item's topic, profiles all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from recommenders.benchmark.controls import CONTROLS
from recommenders.benchmark.experiment import Experiment
from recommenders.benchmark.grid import Outcome
from recommenders.benchmark.means import mean_vectors
from recommenders.benchmark.prepared import Prepared
from recommenders.benchmark.results import collect
from recommenders.benchmark.run import RESULT, Run, execute
from recommenders.data.split import Part, Scenario, Split
from recommenders.models.base import Inputs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recommenders.benchmark.results import ModelResults

TOPICS, PER_TOPIC, USERS, WIDTH = 8, 48, 240, 16
SCENARIO = "cold-items"


def prepared(seed: int, *, useful: bool = True) -> Prepared:
    """Makes a world in which half of the items are new: a quarter in validation, a quarter in test.

    Args:
        seed: Of the world.
        useful: Whether a profile tells the topic; otherwise it tells that of another item.
    """
    rng = np.random.default_rng([seed, 7])
    topics = np.repeat(np.arange(TOPICS), PER_TOPIC)
    place = np.tile(np.arange(PER_TOPIC), TOPICS)
    tastes = np.stack([rng.choice(TOPICS, 2, replace=False) for _ in range(USERS)])
    liked = (tastes[:, :, None] == topics).any(axis=1)
    chosen = rng.random(liked.shape) < np.where(liked, 0.6, 0.03)
    groups = place // (PER_TOPIC // 4)
    train = _matrix(chosen & (groups < 2))
    parts = []
    for group in (2, 3):
        relevant = _matrix(chosen & (groups == group))
        parts.append(
            Part(known=train, relevant=relevant, candidates=np.flatnonzero(groups == group))
        )
    split = Split(
        name=f"planted({seed})",
        train=train,
        train_rows=np.arange(train.nnz),
        scenarios={SCENARIO: Scenario(*parts)},
    )
    told = topics.copy()
    if not useful:
        for group in (groups < 2, groups == 2, groups == 3):
            told[group] = rng.permutation(told[group])
    profiles = _vectors(told, rng)
    inputs = Inputs(
        train=train,
        text=_vectors(topics // 2, rng),
        item_profiles=profiles,
        user_profiles=mean_vectors(train, profiles),
        text_words=_words(topics // 2, rng),
        profile_words=_words(told, rng),
    )
    n_users, n_items = train.shape
    return Prepared(
        split=split,
        scenarios=split.scenarios,
        inputs=inputs,
        user_ids=tuple(f"u{row}" for row in range(n_users)),
        item_ids=tuple(f"i{row}" for row in range(n_items)),
        dataset="planted",
        dataset_fingerprint="0",
        snapshot=None,
        profiles="planted",
        digest=f"{seed}{useful}",
        plain_digest=f"{seed}",
    )


def results(
    folder: Path, model: str, options: dict[str, Any], *, training: dict[str, Any], seeds: int = 2
) -> list[ModelResults]:
    """Runs a model with profiles and with each control."""
    experiment = Experiment.model_validate(
        {
            "name": "planted",
            "dataset": "planted",
            "split": {"kind": "cold-items", "share": 0.5},
            "seeds": tuple(range(1, seeds + 1)),
            "profiles": "planted",
            "user_profiles": "items",
            "controls": tuple(each for each in CONTROLS if each in {"text", "shuffled"}),
            "training": training,
            "models": [{"name": model, "options": {"variant": "augmented", **options}}],
        }
    )
    outcomes = []
    for seed in experiment.seeds:
        ready = prepared(seed)
        for entry in experiment.rows:
            for trial in entry.candidates():
                run = Run(entry=entry, options=trial, seed=seed)
                place = folder / run.key(experiment, ready)
                if not (place / RESULT).is_file():
                    execute(run, experiment, ready, place)
                outcomes.append(Outcome(run, place))
    return collect(experiment, outcomes)


def by_control(found: list[ModelResults]) -> dict[str | None, ModelResults]:
    """Returns the row of each control, and that of the profiles for None."""
    return {one.control: one for one in found}


def _matrix(chosen: NDArray[np.bool_]) -> sparse.csr_array:
    return sparse.csr_array(chosen.astype(np.float32))


def _vectors(of: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    centres = rng.standard_normal((of.max() + 1, WIDTH))
    noisy = centres[of] + 0.3 * rng.standard_normal((len(of), WIDTH))
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def _words(of: NDArray[np.int64], rng: np.random.Generator) -> sparse.csr_array:
    """Returns a word of the topic and two of thirty others for each item."""
    topics = int(of.max()) + 1
    words = np.zeros((len(of), topics + 30), np.float32)
    words[np.arange(len(of)), of] = 1
    for row in words:
        row[topics + rng.choice(30, 2, replace=False)] = 1
    return sparse.csr_array(words)


def placebo_of(found: list[ModelResults]) -> ModelResults:
    """Returns the row of shuffled profiles as a row of its own, for `worth.gated`."""
    return replace(by_control(found)["shuffled"], of=None)
