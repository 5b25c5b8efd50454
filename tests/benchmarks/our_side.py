"""Our LightGCN and SGL as one side of a benchmark: `python -m`, started by it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recommenders.data.negatives import NegativeSampler
from recommenders.data.split import WARM
from recommenders.evaluation import evaluate
from recommenders.models.base import Inputs
from recommenders.models.registry import build
from recommenders.trainer import TrainerConfig, _Run
from tests.benchmarks import sides
from tests.benchmarks.ml_1m import read_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from recommenders.models.gradient import Batch

    Mark = Callable[[Iterable[Any]], Iterator[Any]]


class _Marked(_Run):
    """The trainer's own epoch, with its batches passed through something."""

    mark: Mark

    def _batches(self) -> Iterator[Batch]:
        return self.mark(super()._batches())


class Ours:
    """Items are ids, which is how LightGCN and SGL were first published."""

    def __init__(self, setup: sides.Setup) -> None:
        torch.set_num_threads(setup.threads)
        split = read_split(Path(setup.data))
        self._setup, self._part = setup, split.scenarios[WARM].test
        options: dict[str, object] = {
            "items": "ids",
            "embedding_size": setup.dimension,
            "layers": setup.layers,
        }
        if setup.model == "sgl":
            options |= {
                "edge_dropout": setup.edge_dropout,
                "temperature": setup.temperature,
                "contrast_weight": setup.contrast_weight,
            }
        rng = np.random.default_rng(0)
        self._model: Any = build(setup.model, Inputs(train=split.train), options, rng)
        config = TrainerConfig(
            max_steps=10**9,
            batch_size=setup.batch_size,
            learning_rate=setup.learning_rate,
            weight_decay=setup.decay,
        )
        self._run = _Marked(self._model, config, NegativeSampler(split.train).draw, rng)

    def work(self) -> dict[str, int]:
        train = self._model.inputs.train
        return {
            "interactions": train.nnz,
            "batches": -(-train.nnz // self._setup.batch_size),
            "test users": len(self._part.users),
            "items": train.shape[1],
            "threads": torch.get_num_threads(),
        }

    def train(self, mark: Mark) -> None:
        self._run.mark = mark
        self._run.epoch(None, None)

    def evaluate(self) -> dict[str, float]:
        self._model.train()  # so that the embeddings are worked out anew
        mib = self._setup.block_scores * 4 // 2**20
        return evaluate(self._model, self._part, cutoffs=self._setup.cutoffs, block_mib=mib).means()


if __name__ == "__main__":
    sys.exit(sides.serve(Ours))
