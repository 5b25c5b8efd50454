"""Parity: our models beside RecBole's on the very same split, both trained to convergence.

RecBole's figures are in `parity_recbole.json`, each with the options, the versions and the date of its
run; `python -m tests.benchmarks.parity` adds those that are missing. RecBole's scores are measured by
our metrics. A gap is RecBole's NDCG@20 minus ours: below 0 where ours is better.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recommenders.data.dataset import INFO, Dataset
from recommenders.data.negatives import NegativeSampler
from recommenders.data.readers.movielens import fetch_ml_100k
from recommenders.data.split import WARM
from recommenders.data.splits.per_user import RandomSplit
from recommenders.evaluation import evaluate
from recommenders.models.base import Inputs
from recommenders.models.registry import build
from recommenders.trainer import TrainerConfig, train
from services.common.home import reclm_home
from tests.benchmarks import ml_1m
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.recbole_environment import recbole_python

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.data.split import Split
    from tests.benchmarks.stack import Stack

RECORDED = Path(__file__).with_name("parity_recbole.json")
METRIC, ALLOWED = "ndcg@20", 0.005
_AGAIN = "RecBole's figures are made by: python -m tests.benchmarks.parity"
_SEED, _THREADS = 2020, 2
_LONG = {"epochs": 1000, "stopping_step": 20, "eval_step": 5, "train_batch_size": 2048}
_IDS = {"items": "ids", "embedding_size": 64}


@dataclass(frozen=True, slots=True)
class Setup:
    """A model of RecBole's with its defaults but for `options`, and ours that is like it.

    Attributes:
        name: In the figure's key.
        data: The data set.
        model: RecBole's name.
        learning_rate: Of both.
        ours: Our model's name.
        like: Our model's options.
    """

    name: str
    data: str
    model: str
    learning_rate: float
    ours: str
    like: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """RecBole's options."""
        return {**_LONG, "learning_rate": self.learning_rate}

    @property
    def training(self) -> TrainerConfig:
        """The options of our training."""
        return TrainerConfig(
            max_steps=20_000,
            eval_steps=200,
            batch_size=2048,
            weight_decay=0,
            learning_rate=self.learning_rate,
        )


_BPR = {"item_bias": "none", "initial_deviation": 0.04}
_SGL = {"layers": 3, "edge_dropout": 0.1, "temperature": 0.5, "contrast_weight": 0.05}
_NEUMF = {"hidden_layers": (128, 64), "negatives": 1, "dropout": 0.1}
SETUPS = (
    Setup("bias_mf", "ml-100k", "BPR", 0.001, "bias_mf", {**_IDS, **_BPR}),
    Setup("lightgcn", "ml-100k", "LightGCN", 0.005, "lightgcn", {**_IDS, "layers": 2}),
    Setup("ncf", "ml-100k", "NeuMF", 0.001, "neumf", {**_IDS, **_NEUMF}),
    Setup("sgl", "ml-100k", "SGL", 0.005, "sgl", {**_IDS, **_SGL}),
    Setup("bias_mf", "ml-1m", "BPR", 0.002, "bias_mf", {**_IDS, **_BPR}),
)
"""RecBole has no SimGCL, and its LightGCN and SGL take hours for MovieLens 1M."""


class Scores:
    """Scores that were saved."""

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self._scores = scores

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """As in `Recommender`."""
        del known
        return self._scores[users]


def measure(stack: Stack) -> list[Figure]:
    del stack
    torch.set_num_threads(_THREADS)
    recorded = {(each["name"], each["data"]): each for each in json.loads(RECORDED.read_text())}
    figures = []
    for setup in SETUPS:
        theirs = recorded.get((setup.name, setup.data))
        if theirs is None:
            print(f"skipped: RecBole's {setup.model} on {setup.data} is not recorded; {_AGAIN}")
        elif (split := _split(setup.data)) is not None:
            figures.append(gap(setup, theirs, split))
    return figures


def gap(setup: Setup, theirs: Mapping[str, Any], split: Split) -> Figure:
    """Trains our model as RecBole's was, and returns RecBole's NDCG@20 minus ours.

    Raises:
        RuntimeError: RecBole's figure is of another split, or of other options.
    """
    for what, now in (("split", split.fingerprint()), ("options", setup.options)):
        if theirs[what] != now:
            raise RuntimeError(
                f"RecBole's {setup.model} on {setup.data} is of other {what}: {theirs[what]},"
                f" and here {now}; {_AGAIN}"
            )
    started, rng = time.process_time(), np.random.default_rng(_SEED)
    model: Any = build(setup.ours, Inputs(train=split.train), setup.like, rng)
    scenario = split.scenarios[WARM]
    history = train(
        model,
        setup.training,
        draw=NegativeSampler(split.train).draw,
        rng=rng,
        validate=lambda model: evaluate(model, scenario.validation, cutoffs=(20,)).means()[METRIC],
    )
    found = evaluate(model, scenario.test, cutoffs=(20,)).means()[METRIC]
    where = "" if setup.data == "ml-100k" else f".{setup.data}"
    return Figure(
        f"parity.{setup.name}.ndcg_gap{where}",
        theirs[METRIC] - found,
        METRIC,
        at_most(ALLOWED),
        {
            METRIC: f"ours {found:.4f}, RecBole's {setup.model} {theirs[METRIC]:.4f}",
            "best step": f"{history.best_step} of {history.budget}",
            "converged": not history.not_converged,
            "CPU s": round(time.process_time() - started),
            "RecBole's options": setup.options,
            "recorded": f"{theirs['recorded']}, RecBole {theirs['recbole']}",
        },
    )


def main() -> int:
    """Trains RecBole's models that are not recorded, and those that the command line names."""
    python = recbole_python(reclm_home())
    recorded = {(each["name"], each["data"]): each for each in json.loads(RECORDED.read_text())}
    for setup in SETUPS:
        key = setup.name, setup.data
        if key in recorded and setup.name not in sys.argv[1:]:
            continue
        if (split := _split(setup.data)) is not None:
            recorded[key] = _record(setup, split, python)
            print(json.dumps(recorded[key]), flush=True)
            RECORDED.write_text(json.dumps(list(recorded.values()), indent=1) + "\n")
    return 0


def _record(setup: Setup, split: Split, python: Path) -> dict[str, Any]:
    scenario, dataset = split.scenarios[WARM], f"{setup.data}-split"
    with tempfile.TemporaryDirectory(prefix="reclm-parity-") as scratch:
        folder = Path(scratch)
        asked = {
            "model": setup.model,
            "dataset": dataset,
            "data": str(ml_1m.write_atomic(split, folder / "atomic", name=dataset)),
            "seed": _SEED,
            "threads": _THREADS,
            "shape": split.train.shape,
            "scores": str(folder / "scores.npy"),
            "options": setup.options,
        }
        command = [str(python), "-m", "tests.benchmarks.parity_recbole", json.dumps(asked)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        figures = evaluate(Scores(np.load(asked["scores"])), scenario.test, cutoffs=(20,)).means()
    return {
        "name": setup.name,
        "data": setup.data,
        "model": setup.model,
        "options": setup.options,
        "split": split.fingerprint(),
        METRIC: round(figures[METRIC], 4),
        "recall@20": round(figures["recall@20"], 4),
        "by RecBole's metrics": told["test"],
        "epochs": told["epochs"],
        "recbole": "1.2.1",
        "torch": metadata.version("torch"),
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _split(name: str) -> Split | None:
    """Returns 80 % of each user's pairs for training, and a tenth each for the other parts."""
    if name == ml_1m.NAME:
        if ml_1m.FOLDER.is_dir():
            return ml_1m.read_split(ml_1m.FOLDER)
        print(f"skipped: {ml_1m.FOLDER} is not there; RECLM_TEST_DATA may name another place")
        return None
    folder = reclm_home() / "data" / name
    there = (folder / INFO).is_file()
    dataset = Dataset.read(folder) if there else fetch_ml_100k()
    return RandomSplit(validation=0.1, test=0.1, seed=0).divide(dataset)


if __name__ == "__main__":
    sys.exit(main())
