"""What the gate promises: shuffled profiles do no harm, and useful ones keep their gain.

Gated is with profiles where validation shows that they are better than texts, and else texts
(`worth.gated`); the closed forms' weight and the gradient models' gate come before that.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from recommenders.benchmark.worth import gated
from tests.recommenders.benchmark.planted import SCENARIO, by_control, results

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.benchmark.results import ModelResults

METRIC = "ndcg@20"
HARM, KEPT = 0.005, 0.95
TRAINING = {"learning_rate": 0.02, "batch_size": 256}
CLOSED = [
    ("kernel_ridge", {"regularisation": 3.0}),
    ("text_ease", {"regularisation": 30.0}),
]
TRAINED = [("lightgcn", {"embedding_size": 16}), ("bias_mf", {"embedding_size": 16})]
OPTIONS: dict[str, dict[str, Any]] = dict([*CLOSED, *TRAINED])
ALL = [
    *(name for name, _ in CLOSED),
    *(pytest.param(name, marks=pytest.mark.slow) for name, _ in TRAINED),
]


def mean(one: ModelResults) -> float:
    return one.spread(SCENARIO, METRIC).mean


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("planted")

    @functools.cache
    def of(name: str) -> dict[str | None, ModelResults]:
        seeds = 1 if name in dict(TRAINED) else 2
        found = results(folder / name, name, OPTIONS[name], training=TRAINING, seeds=seeds)
        return by_control(found)

    return of


@pytest.mark.parametrize("name", ALL)
def test_shuffled_profiles_are_never_worse_than_texts(name: str, rows: Any) -> None:
    found = rows(name)
    placebo = gated(found["shuffled"], found["text"], SCENARIO, METRIC)
    assert mean(placebo) >= mean(found["text"]) - HARM


@pytest.mark.parametrize("name", ALL)
def test_useful_profiles_keep_their_gain(name: str, rows: Any) -> None:
    found = rows(name)
    text, profile = found["text"], found[None]
    kept = gated(profile, text, SCENARIO, METRIC)
    gain = mean(profile) - mean(text)
    assert gain > 0.05
    assert mean(kept) - mean(text) >= KEPT * gain


@pytest.mark.parametrize("name", [name for name, _ in CLOSED])
def test_a_closed_form_takes_no_weight_for_shuffled_profiles(name: str, rows: Any) -> None:
    found = rows(name)
    for row, some in (("shuffled", False), ("text", False), (None, True)):
        for run in found[row].chosen.values():
            weight = run.runs[SCENARIO].result["options"]["profile_weight"]
            assert (weight > 0) == some


def test_a_fixed_weight_would_lose_by_shuffled_profiles(tmp_path: Path) -> None:
    options = {"regularisation": 3.0, "profile_weight": 0.5}
    found = by_control(results(tmp_path, "kernel_ridge", options, training=TRAINING))
    assert mean(found["shuffled"]) < mean(found["text"]) - HARM


@pytest.mark.slow
def test_a_gate_closes_for_shuffled_profiles_and_is_open_for_useful_ones(rows: Any) -> None:
    found = rows("lightgcn")
    scales = {
        row: [
            json.loads((run.runs[SCENARIO].folder / "result.json").read_text())["scenarios"][
                SCENARIO
            ]["profile_scale"]
            for run in found[row].chosen.values()
        ]
        for row in (None, "shuffled")
    }
    assert min(scales[None]) > 0
    assert max(scales["shuffled"]) < min(scales[None]) or max(scales["shuffled"]) == 0
