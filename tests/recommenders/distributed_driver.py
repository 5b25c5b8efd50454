"""Trains as one of several processes, or as a single one: `python -m`, with or without a launcher before it.

The leader writes the losses of the training; every process writes the parameters that it ends with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save_file

from recommenders.distributed import joined
from recommenders.models.registry import build
from recommenders.trainer import TrainerConfig, train
from tests.recommenders.models.worlds import ExactNegatives, world

if TYPE_CHECKING:
    from recommenders.distributed import DistributedContext


def main() -> None:
    folder = Path(sys.argv[1])
    with joined() as context:
        for name in ("bias_mf", "lightgcn"):
            _train(name, context, folder / name, steps=8)
        # SGL draws its views for each epoch, and they must be the same in all processes.
        _train("sgl", context, folder / "whole", steps=12)
        checkpoint = folder / "checkpoint"
        _train("sgl", context, folder / "parts", steps=4, checkpoint=checkpoint)
        _train("sgl", context, folder / "parts", steps=12, checkpoint=checkpoint)


def _train(
    name: str,
    context: DistributedContext,
    out: Path,
    *,
    steps: int,
    checkpoint: Path | None = None,
) -> None:
    inputs = world(blocks=3, cold_items=1, cold_users=0).inputs
    model: Any = build(name, inputs, {}, np.random.default_rng(7))
    history = train(
        model,
        # An odd batch, whose halves differ, and a last one of what is left.
        TrainerConfig(
            max_steps=steps,
            eval_steps=4,  # an epoch
            batch_size=51,
            accumulate=2,
            learning_rate=0.01,
            weight_decay=0.01,  # Adam alone would not see whether gradients are sums or means
        ),
        draw=ExactNegatives(inputs.train).draw,
        rng=np.random.default_rng(0),
        # Another value in each process, if it were not the leader's alone.
        validate=lambda _: 1.0 - context.rank,
        checkpoint=checkpoint,
        context=context,
    )
    out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), out / f"{context.rank}.safetensors")
    if context.is_main_process:
        (out / "rows.json").write_text(json.dumps(history.rows))


if __name__ == "__main__":
    main()
