"""The YAML of a grid is validated before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import read_experiment

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
name: tiny
dataset: tiny
split: {kind: cold-items, share: 0.2}
training: {max_steps: 3}
models:
  - {name: lightgcn, options: {variant: base}}
  - {name: lightgcn, options: {variant: augmented}, training: {max_steps: 4}}
  - {name: bias_mf, label: mine, search: {embedding_size: [4, 8], items: [ids, both]}}
"""


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return read_experiment(path)


def test_a_grid_is_read(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(GOOD)
    experiment = read_experiment(path)
    assert [entry.shown for entry in experiment.models] == [
        "lightgcn base",
        "lightgcn augmented",
        "mine",
    ]
    assert [experiment.trainer(entry).max_steps for entry in experiment.models] == [3, 4, 3]
    assert list(experiment.models[2].candidates()) == [
        {"embedding_size": 4, "items": "ids"},
        {"embedding_size": 4, "items": "both"},
        {"embedding_size": 8, "items": "ids"},
        {"embedding_size": 8, "items": "both"},
    ]
    assert [entry.variant for entry in experiment.models] == ["base", "augmented", "base"]
    assert "seed=7" in experiment.plan(7).name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: tiny\n", ""), "name: Field required"),
        (("dataset: tiny", "dataset: tiny\ncolour: red"), "colour: Extra inputs"),
        (("share: 0.2", "shares: 0.2"), "unknown option shares"),
        (("name: bias_mf", "name: magic"), "no model 'magic'; there are"),
        (("embedding_size: [4, 8]", "embedding_size: [4, none]"), "embedding_size"),
        (("max_steps: 4", "steps: 4"), "steps: Extra inputs"),
        (("max_steps: 4", "epochs: 4"), "'epochs' is replaced by 'max_steps', which counts"),
        (("max_steps: 4", "validate_every: 4"), "replaced by 'eval_steps', which counts"),
        (("variant: augmented", "variant: base"), "two models are called 'lightgcn base'"),
        (
            ("variant: augmented}", "variant: augmented}, against: it"),
            "against 'it', which no other",
        ),
        (
            ("variant: augmented}", "variant: augmented}, against: lightgcn augmented"),
            "which no other model is called",
        ),
        (("models:", "models: ["), "is not YAML"),
        (
            ("name: tiny", "name: tiny\nmetric: ndcg"),
            "metric: .* no metric 'ndcg'; there are recall",
        ),
        (("name: tiny", "name: tiny\nmetric: ndcg@0"), "no metric 'ndcg@0'"),
        (("name: tiny", "name: tiny\nmetric: ndcg@020"), "no metric 'ndcg@020'"),
        (("name: tiny", "name: tiny\nmetric: precision@20"), "no metric 'precision@20'"),
        (("name: tiny", "name: tiny\nseeds: []"), "seeds: .* at least 1 item"),
        ((GOOD[GOOD.index("models:") :], "models: []"), "models: .* at least 1 item"),
        (("max_steps: 4", "max_steps: 0"), "max_steps: Input should be greater than or equal to 1"),
        (("embedding_size: [4, 8]", "embedding_size: []"), "search.embedding_size: .* at least 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(BenchmarkError, match=message):
        read(tmp_path, GOOD.replace(*change))


def test_a_split_with_a_seed_is_the_same_for_all(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(GOOD.replace("share: 0.2", "share: 0.2, seed: 5"))
    assert "seed=5" in read_experiment(path).plan(7).name


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="is missing"):
        read_experiment(tmp_path / "none.yaml")
