"""Trains one of RecBole's models to convergence and saves its scores: `python -m` in RecBole's environment.

Its own data set, sampler, trainer and early stopping do the work. The scores of all users for all
items are saved in the order of the split's rows, so that our metrics judge both sides.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed


def main() -> None:
    """Reads what to do as JSON from the last argument, and prints what came out as JSON."""
    asked: dict[str, Any] = json.loads(sys.argv[-1])
    os.chdir(Path(asked["scores"]).parent)  # where RecBole leaves its logs
    torch.load = _trusting(torch.load)  # type: ignore[assignment]
    torch.set_num_threads(asked["threads"])
    # RecBole parses the command line itself, and would stumble over ours.
    sys.argv = sys.argv[:1]
    config = Config(model=asked["model"], dataset=asked["dataset"], config_dict=_options(asked))
    init_seed(asked["seed"], reproducibility=True)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    init_seed(asked["seed"], reproducibility=True)
    model = get_model(config["model"])(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    best, result = trainer.fit(train, valid, saved=True, show_progress=False)
    tested = trainer.evaluate(test, load_best_model=True, show_progress=False)
    np.save(asked["scores"], _scores(model, dataset, asked["shape"]))
    print(
        json.dumps(
            {"valid ndcg@20": best, "test": dict(tested), "epochs": len(trainer.train_loss_dict)}
        )
    )
    del result


def _options(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "data_path": asked["data"],
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "use_gpu": False,
        "show_progress": False,
        "state": "INFO",
        "checkpoint_dir": str(Path(asked["scores"]).parent / "saved"),
        "seed": asked["seed"],
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
        "valid_metric": "NDCG@20",
        "eval_batch_size": 2**22,
        **asked["options"],
    }


def _scores(model: Any, dataset: Any, shape: list[int]) -> Any:
    """Returns scores of all users for all items in our order; zeros for those it has not."""
    found = np.zeros(shape, np.float32)
    items = np.array(
        [int(each) for each in dataset.id2token("item_id", range(1, dataset.item_num))]
    )
    model.eval()
    with torch.no_grad():
        for user in range(1, dataset.user_num):
            row = int(dataset.id2token("user_id", user))
            found[row, items] = _of_user(model, user, dataset.item_num)[1:]
    return found


def _of_user(model: Any, user: int, items: int) -> Any:
    """Returns a user's scores for all items."""
    asked = {"user_id": torch.tensor([user])}
    try:
        return model.full_sort_predict(Interaction(asked)).reshape(-1).numpy()
    except NotImplementedError:  # NeuMF scores pairs only
        asked = {"user_id": torch.full((items,), user), "item_id": torch.arange(items)}
        return model.predict(Interaction(asked)).numpy()


def _trusting(load: Any) -> Any:
    """Returns `torch.load` for files of this process, which hold more than tensors."""

    def loaded(*args: Any, **options: Any) -> Any:
        return load(*args, **{"weights_only": False, **options})

    return loaded


if __name__ == "__main__":
    main()
