"""The reward model: is trained to score a user's own profile above a worse one.

Third step of RecLM (arXiv 2412.19302). The loss of a pair is
-log sigmoid(score(chosen) - score(rejected)) (Bradley and Terry). The accuracy is measured on users
that it was not trained on, for each kind of corruption.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from peft.helpers import disable_input_dtype_casting
from pydantic import NonNegativeFloat, PositiveInt
from trl import RewardConfig, RewardTrainer

from training.data.rows import Chat, PreferenceRow, read_rows
from training.errors import TrainingError
from training.modeling.lora import add_adapter, load_tokenizer, start_model
from training.modeling.reward_model import (
    EncodedAnswer,
    ModelReward,
    read_answer,
    score_packs,
    scored,
)
from training.runs.options import JobOptions
from training.runs.run import arguments, finish, open_run, refuse_several_gpus, train, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from training.runs.options import RunPaths


class RewardOptions(JobOptions):
    """Options of the reward model. A batch counts prompts, each with all its pairs.

    Attributes:
        max_length: Most tokens of prompt and answer. Longer pairs are left out and counted.
        mutual_information: Weight of the pointwise mutual information of prompt and answer in the
            score, in nats per token of the answer: how much likelier the answer is after its prompt
            than after the same prompt with empty user turns. 0 as in the paper.
    """

    max_length: PositiveInt = 1024
    mutual_information: NonNegativeFloat = 10.0


def reward(options: RewardOptions, paths: RunPaths, *, progress: Callable[[str], object]) -> Path:
    """Trains a reward model on preference pairs, and returns the folder of its adapter.

    Args:
        options: Options of the job.
        paths: Inputs and outputs; data and evaluation are rows of `PreferenceRow`.
        progress: Called with lines of progress, with how many pairs are left out, and with the
            accuracy.

    Raises:
        TrainingError: There is no evaluation, or as `open_run`, `start_model` and `train` do.
    """
    if paths.evaluation is None:
        raise TrainingError("a reward model needs pairs of other users for its evaluation")
    rows = read_rows(PreferenceRow, paths.data)
    held_out = read_rows(PreferenceRow, paths.evaluation)
    run = open_run("reward", options, paths, rows=len(rows))
    tokenizer = load_tokenizer(paths.model)
    prompts, left_out = _prompts(tokenizer, rows, options.max_length)
    if left_out:
        progress(f"train: {left_out:,} pairs of more than {options.max_length} tokens left out")
    body = score_packs(
        start_model(paths.model, paths.start, options, scoring=True),
        mutual_information=options.mutual_information,
    )
    model = add_adapter(body, options.lora, scoring=True)
    args = arguments(
        RewardConfig,
        run,
        remove_unused_columns=False,
        ddp_broadcast_buffers=False,  # buffers never change
    )
    refuse_several_gpus(args)
    trainer = _Trainer(
        model=model,
        args=args,
        data_collator=_Collator(int(tokenizer.pad_token_id)),
        train_dataset=Dataset.from_list(prompts),
        processing_class=tokenizer,
    )
    watch(trainer, run, progress)
    # As in supervised training.
    with disable_input_dtype_casting(model, active=options.bf16):
        train(trainer, run)
    metrics = accuracy(ModelReward(trainer.model, tokenizer), held_out)
    progress(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    return finish(run, trainer, trainer.model, metrics)


def accuracy(model: ModelReward, rows: Sequence[PreferenceRow]) -> dict[str, float]:
    """Returns the share of pairs whose better answer scores higher, overall and by corruption.

    A tie counts as an error.
    """
    better = model.scores([(*row.prompt, *row.chosen) for row in rows])
    worse = model.scores([(*row.prompt, *row.rejected) for row in rows])
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for row, high, low in zip(rows, better, worse, strict=True):
        for name in ("accuracy", f"accuracy_{row.corruption.replace(' ', '_')}"):
            hits[name].append(high > low)
    return {name: sum(found) / len(found) for name, found in sorted(hits.items())}


class _Trainer(RewardTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer over all pairs of some prompts at once: a common prompt is computed once."""

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset  # tokenised already

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, object]:
        """Returns the mean of -log sigmoid(score(chosen) - score(rejected)) over the pairs."""
        del num_items_in_batch
        better, worse = inputs.pop("pairs").unbind(dim=1)
        outputs = model(**inputs)
        scores = outputs.logits[:, 0]
        margins = scores[better] - scores[worse]
        seen = self._metrics["train" if model.training else "eval"]
        seen["accuracy"].append(float((margins > 0).float().mean()))
        seen["margin"].append(float(margins.detach().mean()))
        loss = -torch.nn.functional.logsigmoid(margins).mean()
        return (loss, outputs) if return_outputs else loss


class _Collator:
    """Makes one input of all distinct answers to some prompts, and lists the pairs among them."""

    def __init__(self, padding: int) -> None:
        self._padding = padding

    def __call__(self, prompts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        paths: dict[tuple[int, ...], int] = {}
        answers: list[EncodedAnswer] = []
        pairs: list[list[int]] = []
        for pair in (pair for prompt in prompts for pair in prompt["pairs"]):
            pairs.append([])
            for document in pair:
                read = EncodedAnswer(**document)
                place = paths.setdefault(tuple(read.tokens), len(paths))
                if place == len(answers):
                    answers.append(read)
                pairs[-1].append(place)
        return {**scored(answers, padding=self._padding), "pairs": torch.tensor(pairs)}


def _prompts(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreferenceRow], max_length: int
) -> tuple[list[dict[str, Any]], int]:
    """Returns the pairs of each prompt as tokens, and the number of pairs left out as too long."""
    kept: defaultdict[Chat, list[list[dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        pair = [
            read_answer(tokenizer, (*row.prompt, *turns)) for turns in (row.chosen, row.rejected)
        ]
        if max(len(read.tokens) for read in pair) <= max_length:
            kept[row.prompt].append([read._asdict() for read in pair])
    if not kept:
        raise TrainingError(
            f"all {len(rows):,} pairs are longer than max_length, {max_length} tokens"
        )
    return [{"pairs": pairs} for pairs in kept.values()], len(rows) - sum(map(len, kept.values()))
