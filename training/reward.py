"""The reward model: learns to tell a user's own profile from a worse one.

Third step of RecLM (arXiv 2412.19302): pairwise, -log sigmoid(score(chosen) - score(rejected))
(Bradley and Terry). Its accuracy is measured on users that it has not trained on, for each way in
which a profile can be worse.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from datasets import Dataset
from pydantic import PositiveInt
from trl import RewardConfig, RewardTrainer

from training.chat import encode
from training.errors import TrainingError
from training.lora import add_adapter, load_tokenizer, start_model
from training.options import JobOptions
from training.rewards import ModelReward
from training.rows import PreferenceRow, read_rows
from training.runs import arguments, finish, open_run, train, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from training.options import Places


class RewardOptions(JobOptions):
    """Options of the reward model.

    Attributes:
        max_length: Tokens of prompt and answer at most. Longer rows are left out and counted.
    """

    max_length: PositiveInt = 1024


def reward(options: RewardOptions, places: Places, *, tell: Callable[[str], object]) -> Path:
    """Trains a reward model on preference pairs, and returns its adapter's folder.

    Args:
        options: How.
        places: Where; data and evaluation are rows of `PreferenceRow`.
        tell: Told of progress, what is left out, and the accuracy.

    Raises:
        TrainingError: There is no evaluation, or as `open_run`, `start_model` and `train` do.
    """
    if places.evaluation is None:
        raise TrainingError("a reward model needs pairs of other users to be measured on")
    rows = read_rows(PreferenceRow, places.data)
    held_out = read_rows(PreferenceRow, places.evaluation)
    run = open_run("reward", options, places, rows=len(rows))
    tokenizer = load_tokenizer(places.model)
    pairs = _pairs(tokenizer, rows, options.max_length)
    if left_out := len(rows) - len(pairs):
        tell(f"train: {left_out:,} pairs of more than {options.max_length} tokens left out")
    body = start_model(places.model, places.start, options, scoring=True)
    trainer = RewardTrainer(
        model=add_adapter(body, options.lora, scoring=True),
        args=arguments(RewardConfig, run, max_length=options.max_length),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    watch(trainer, run, tell)
    train(trainer, run)
    metrics = accuracy(ModelReward(trainer.model, tokenizer), held_out)
    tell(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    return finish(run, trainer, trainer.model, metrics)


def accuracy(model: ModelReward, rows: Sequence[PreferenceRow]) -> dict[str, float]:
    """Returns the share of pairs whose better answer scores higher, overall and by corruption.

    A tie is a miss.
    """
    better = model.scores([(*row.prompt, *row.chosen) for row in rows])
    worse = model.scores([(*row.prompt, *row.rejected) for row in rows])
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for row, high, low in zip(rows, better, worse, strict=True):
        for name in ("accuracy", f"accuracy_{row.corruption.replace(' ', '_')}"):
            hits[name].append(high > low)
    return {name: sum(found) / len(found) for name, found in sorted(hits.items())}


def _pairs(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreferenceRow], max_length: int
) -> list[dict[str, list[int]]]:
    pairs = [
        {
            f"{name}_ids": encode(tokenizer, (*row.prompt, *answer))["input_ids"]
            for name, answer in (("chosen", row.chosen), ("rejected", row.rejected))
        }
        for row in rows
    ]
    kept = [pair for pair in pairs if max(map(len, pair.values())) <= max_length]
    if not kept:
        raise TrainingError(
            f"all {len(rows):,} pairs are longer than max_length, {max_length} tokens"
        )
    return kept
