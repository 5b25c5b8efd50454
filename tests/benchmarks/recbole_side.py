"""RecBole's LightGCN and SGL as one side of a benchmark: `python -m` in RecBole's environment.

Its own data set, loaders, trainer and evaluator do the work; the options are its defaults but for
what the setup says.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer

from tests.benchmarks import sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MODELS = {"lightgcn": "LightGCN", "sgl": "SGL"}
_DATASET = "ml-1m"


class RecBole:
    """A model of RecBole's, on the CPU."""

    def __init__(self, setup: sides.Setup) -> None:
        config = Config(model=_MODELS[setup.model], dataset=_DATASET, config_dict=_options(setup))
        torch.set_num_threads(setup.threads)
        dataset = create_dataset(config)
        self._train, _, self._test = data_preparation(config, dataset)
        self._model = get_model(config["model"])(config, self._train.dataset).to(config["device"])
        self._trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, self._model)
        self._trainer.eval_collector.data_collect(self._train)
        self._items = dataset.item_num - 1  # the first is padding

    def work(self) -> dict[str, int]:
        return {
            "interactions": len(self._train.dataset),
            "batches": len(self._train),
            "test users": len(self._test.user_df),
            "items": self._items,
            "threads": torch.get_num_threads(),
        }

    def train(self, mark: Callable[[Iterable[Any]], Iterator[Any]]) -> None:
        self._trainer._train_epoch(mark(self._train), 0)

    def evaluate(self) -> dict[str, float]:
        # So that the embeddings are worked out anew.
        self._model.restore_user_e = self._model.restore_item_e = None
        return dict(self._trainer.evaluate(self._test, load_best_model=False))


def _options(setup: sides.Setup) -> dict[str, object]:
    return {
        "data_path": setup.data,
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "use_gpu": False,
        "show_progress": False,
        "state": "WARNING",
        "embedding_size": setup.dimension,
        "n_layers": setup.layers,
        "train_batch_size": setup.batch_size,
        "learning_rate": setup.learning_rate,
        "reg_weight": setup.decay,
        "type": "ED",
        "drop_ratio": setup.edge_dropout,
        "ssl_tau": setup.temperature,
        "ssl_weight": setup.contrast_weight,
        "metrics": ["Recall", "NDCG", "MRR", "Hit"],
        "topk": list(setup.cutoffs),
        "valid_metric": f"Recall@{setup.cutoffs[0]}",
        # As many users at a time as ours; the default would be one.
        "eval_batch_size": setup.block_scores,
    }


if __name__ == "__main__":
    sys.exit(sides.serve(RecBole))
