"""Parity: our models beside RecBole's on the very same split, both trained to convergence.

RecBole's figures are in `parity_recbole.json`, each with the options, the versions and the date of its
run; `python -m tests.benchmarks.parity` makes them anew, which takes RecBole an hour and more. Its
scores are judged by our metrics. A gap is RecBole's NDCG@20 minus ours: below 0 where ours is better.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
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
_SEED, _THREADS = 2020, 2


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
    splits: dict[str, Split | None] = {}
    figures = []
    for recorded in json.loads(RECORDED.read_text()):
        name = recorded["data"]
        if name not in splits:
            splits[name] = _split(name)
        split = splits[name]
        if split is None:
            continue
        figures.append(gap(recorded, split))
    return figures


def gap(recorded: Mapping[str, Any], split: Split) -> Figure:
    """Trains our model as RecBole's was, and returns RecBole's NDCG@20 minus ours.

    Raises:
        RuntimeError: The split is not the one that RecBole's figure is of.
    """
    if split.fingerprint() != recorded["split"]:
        raise RuntimeError(
            f"RecBole's figures are of another split of {recorded['data']}"
            f" ({recorded['split']}, here {split.fingerprint()}); make them anew:"
            " python -m tests.benchmarks.parity"
        )
    ours, started = recorded["ours"], time.process_time()
    rng = np.random.default_rng(_SEED)
    model: Any = build(ours["model"], Inputs(train=split.train), ours["options"], rng)
    scenario = split.scenarios[WARM]
    history = train(
        model,
        TrainerConfig.model_validate(ours["training"]),
        draw=NegativeSampler(split.train).draw,
        rng=rng,
        validate=lambda model: evaluate(model, scenario.validation, cutoffs=(20,)).means()[METRIC],
    )
    found = evaluate(model, scenario.test, cutoffs=(20,)).means()[METRIC]
    where = "" if recorded["data"] == "ml-100k" else f".{recorded['data']}"
    return Figure(
        f"parity.{recorded['name']}.ndcg_gap{where}",
        recorded[METRIC] - found,
        METRIC,
        at_most(ALLOWED),
        {
            METRIC: f"ours {found:.4f}, RecBole's {recorded['model']} {recorded[METRIC]:.4f}",
            "best step": f"{history.best_step} of {history.budget}",
            "converged": not history.not_converged,
            "CPU s": round(time.process_time() - started),
            "RecBole's options": recorded["options"],
            "recorded": f"{recorded['recorded']}, RecBole {recorded['recbole']}",
        },
    )


def main() -> int:
    """Makes RecBole's figures anew, with the options that are in the file."""
    python = recbole_python(reclm_home())
    found = []
    for recorded in json.loads(RECORDED.read_text()):
        split = _split(recorded["data"])
        found.append(recorded if split is None else _record(recorded, split, python))
        print(json.dumps(found[-1]), flush=True)
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _record(recorded: Mapping[str, Any], split: Split, python: Path) -> dict[str, Any]:
    scenario, dataset = split.scenarios[WARM], f"{recorded['data']}-split"
    with tempfile.TemporaryDirectory(prefix="reclm-parity-") as scratch:
        folder = Path(scratch)
        asked = {
            "model": recorded["model"],
            "dataset": dataset,
            "data": str(ml_1m.write_atomic(split, folder / "atomic", name=dataset)),
            "seed": _SEED,
            "threads": _THREADS,
            "shape": split.train.shape,
            "scores": str(folder / "scores.npy"),
            "options": recorded["options"],
        }
        command = [str(python), "-m", "tests.benchmarks.parity_recbole", json.dumps(asked)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        figures = evaluate(Scores(np.load(asked["scores"])), scenario.test, cutoffs=(20,)).means()
    return {
        **recorded,
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
