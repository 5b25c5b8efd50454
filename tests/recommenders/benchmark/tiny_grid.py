"""A small dataset with two groups of users, and grids of models on it."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from recommenders.benchmark.experiment import Experiment, ModelEntry
from recommenders.commands import benchmark
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.benchmark.prepared import BenchmarkPaths
    from recommenders.data.dataset import Dataset

USERS, ITEMS = 40, 30
KINDS = ("heist thrillers", "talking animals")
GRID = """
name: two tastes
dataset: tiny
split: {kind: cold-items, share: 0.3, warm: 0.1}
seeds: [1, 2]
text: [title]
profiles: profiles
user_profiles: items
scenario: cold-items
controls: []
training: {max_steps: 16, eval_steps: 4, patience: 2, batch_size: 64, learning_rate: 0.05}
models:
  - {name: lightgcn, options: {variant: base, embedding_size: 8}}
  - {name: lightgcn, options: {variant: augmented, embedding_size: 8, fusion: add}}
"""
CHEAP = """
name: counted
dataset: tiny
split: {kind: leave-last-out}
seeds: [1, 2]
text: [title]
models: [{name: popularity}, {name: random}]
"""
CONTROLLED = """
name: controlled
dataset: tiny
split: {kind: cold-items, share: 0.3, warm: 0.1}
seeds: [1, 2]
text: [title]
profiles: profiles
user_profiles: items
models:
  - {name: kernel_ridge, options: {variant: base}}
  - {name: kernel_ridge, options: {variant: augmented}, search: {profile_weight: [0, 0.3]}}
"""


def two_tastes() -> Dataset:
    """Each half of the users has one half of the items; only profiles tell the halves apart."""
    random = np.random.default_rng(0)
    choices = [
        (f"u{user}", f"i{item}", int(random.integers(1_000)))
        for user, item in itertools.product(range(USERS), range(ITEMS))
        if user % 2 == item % 2 and random.random() < 0.7
    ]
    names = [f"i{item}" for item in range(ITEMS)]
    return dataset(choices, items=names, titles=[f"number {item}" for item in range(ITEMS)])


def run(paths: BenchmarkPaths, tmp_path: Path, text: str = GRID, *, jobs: int = 1) -> str:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return benchmark.benchmark(path, paths, jobs=jobs, command="the command")


def finished(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("runs/*/result.json")]


def experiment(**changes: object) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "x",
            "dataset": "tiny",
            "split": {"kind": "cold-items", "share": 0.3},
            "text": ("title",),
            "profiles": "profiles",
            "user_profiles": "items",
            "models": (ModelEntry(name="lightgcn"),),
            **changes,
        }
    )
