"""Proximal policy optimisation (PPO, arXiv 1707.06347) of a model that writes profiles.

The last step of RecLM (arXiv 2412.19302), on TRL's trainer. That one takes one reward model and
can neither go on from a checkpoint nor keep its value model, so this file adds: a judge that sums
all rewards where TRL expects a model, the value model in every checkpoint, and an order of prompts
that depends on the seed alone.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Self

import torch
from datasets import Dataset
from peft import inject_adapter_in_model, set_peft_model_state_dict
from pydantic import Field, PositiveInt, model_validator
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Sampler
from transformers import TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer

from training.data.rows import PolicyRow, read_rows
from training.errors import TrainingError
from training.jobs.grpo import PolicyOptions
from training.modeling.chat import prompt_text, token_ids
from training.modeling.lora import load_tokenizer, lora_config, start_model
from training.modeling.reward_model import load_reward_model, load_reward_scorer
from training.rewards.registry import chosen
from training.runs.run import arguments, finish, open_run, processes, saved, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainerControl,
    )

    from training.rewards.registry import Reward
    from training.runs.options import RunPaths
    from training.runs.run import Run

_VALUE = "value_model.safetensors"
_ANY = 1e6


class PpoOptions(PolicyOptions):
    """Options of PPO; a batch is `batch_size` times `accumulation` prompts, one answer each.

    Attributes:
        updates: Passes over each batch of answers.
        mini_batches: Steps in each pass.
        clip: How far the odds of an answer may move in a batch.
        value_weight: Of the value model's loss.
        no_end_penalty: Taken from the reward of an answer that does not end.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    updates: PositiveInt = 4
    mini_batches: PositiveInt = 1
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    value_weight: Annotated[float, Field(ge=0)] = 0.1
    no_end_penalty: Annotated[float, Field(ge=0)] = 1.0

    @model_validator(mode="after")
    def _mini_batches_divide_a_batch(self) -> Self:
        batch = self.batch_size * self.accumulation
        if batch % self.mini_batches:
            raise ValueError(
                f"mini_batches, {self.mini_batches}, have to divide a batch of {batch}: batch_size "
                "times accumulation"
            )
        return self


def ppo(
    options: PpoOptions, paths: RunPaths, *, reward_model: Path, progress: Callable[[str], object]
) -> Path:
    """Trains a policy and returns its adapter's folder.

    Args:
        options: How.
        paths: Where; the data are rows of `PolicyRow`.
        reward_model: Adapter of the reward model, whose body and head the value model starts from,
            whatever its weight among the rewards.
        progress: Told of progress.

    Raises:
        TrainingError: There are fewer rows than in a batch, or as `open_run`, `start_model`,
            `chosen` and `saved` do.
    """
    rows = read_rows(PolicyRow, paths.data)
    batch = options.batch_size * options.accumulation
    if len(rows) < batch:
        raise TrainingError(f"{paths.data} has {len(rows)} rows, fewer than a batch of {batch}")
    run = open_run("ppo", options, paths, rows=len(rows), reward_model=reward_model)
    tokenizer = load_tokenizer(paths.model)
    tokenizer.padding_side = "left"
    prompts = [token_ids(tokenizer, prompt_text(tokenizer, row.prompt)) for row in rows]
    policy = start_model(paths.model, paths.start, options)
    scorer = load_reward_scorer(paths.model, reward_model, tokenizer, dtype=policy.dtype)
    rewards = chosen(options.rewards, scorer)
    trainer = _Trainer(
        reward_model=_RewardSum(
            rewards, dict(zip(map(tuple, prompts), rows, strict=True)), tokenizer
        ),
        args=arguments(PPOConfig, run, **_arguments(options, tokenizer, len(rows))),
        processing_class=tokenizer,
        model=policy,
        value_model=_value_model(paths.model, reward_model, options, policy.dtype),
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in prompts]),
        peft_config=lora_config(options.lora),
    )
    watch(trainer, run, progress)
    last = run.last_checkpoint()
    trainer.order_prompts(options.seed, last)
    if last is not None:
        progress(f"going on from {last}")
    # TRL announces its loop on stdout, where only the result belongs.
    with saved(run), contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    return finish(run, trainer, trainer.policy_model, _last(run, trainer.state.log_history))


class _RewardSum(nn.Module):
    """Sums rewards where TRL's PPO expects a reward model: it shows a body and a head.

    Args:
        rewards: Name, function and weight of each.
        rows: Row of each prompt, by its tokens.
        tokenizer: Reads the answers.
    """

    base_model_prefix = "body"

    def __init__(
        self,
        rewards: Sequence[tuple[str, Reward, float]],
        rows: dict[tuple[int, ...], PolicyRow],
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        super().__init__()
        self._rewards = rewards
        self._rows = rows
        self._lengths = sorted({len(prompt) for prompt in rows})
        self._tokenizer = tokenizer
        self.seen: dict[str, list[float]] = {}
        self.score = nn.Identity()

    def body(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
    ) -> SimpleNamespace:
        """Returns the summed reward of each answer, at every place of its sequence."""
        evaluated = [
            self._split(ids[mask.bool()])
            for ids, mask in zip(input_ids, attention_mask, strict=True)
        ]
        rows, answers = [row for row, _ in evaluated], [answer for _, answer in evaluated]
        total = torch.zeros(len(rows))
        for name, reward, weight in self._rewards:
            values = reward(rows, answers)
            self.seen.setdefault(name, []).extend(values)
            total += weight * torch.tensor(values)
        everywhere = total.to(input_ids.device)[:, None, None].expand(*input_ids.shape, 1)
        return SimpleNamespace(hidden_states=[everywhere])

    def _split(self, ids: torch.Tensor) -> tuple[PolicyRow, str]:
        tokens = ids.tolist()
        for length in self._lengths:
            row = self._rows.get(tuple(tokens[:length]))
            if row is not None:
                answer = self._tokenizer.decode(tokens[length:], skip_special_tokens=True)
                return row, str(answer)
        raise TrainingError("PPO asks for the reward of a prompt that is not among its rows")


class _Trainer(PPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's PPO, with checkpoints that hold all of it, and each reward in the log."""

    def __init__(self, *, reward_model: _RewardSum, **kwargs: Any) -> None:
        super().__init__(ref_model=None, reward_model=reward_model, **kwargs)
        self._reward_model = reward_model

    def order_prompts(self, seed: int, checkpoint: Path | None) -> None:
        """Has batches come in an order that the seed decides, from where a checkpoint left off."""
        done = 0
        if checkpoint is not None:
            done = self._restore(checkpoint)
        per_process = self.args.local_batch_size
        self.dataloader = DataLoader(
            self.train_dataset,
            batch_sampler=_Order(
                len(self.train_dataset),
                per_process,
                seed=seed,
                first=done * self.args.world_size + self.args.process_index,
                stride=self.args.world_size,
            ),
            collate_fn=self.data_collator,
            # Its own, so that beginning to iterate draws nothing from the stream that samples.
            generator=torch.Generator(),
        )
        self.add_callback(_GoesOn(self, checkpoint, done))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of each reward since the last time."""
        seen, self._reward_model.seen = self._reward_model.seen, {}
        means = {f"rewards/{name}/mean": sum(v) / len(v) for name, v in seen.items() if v}
        super().log({**logs, **means}, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        folder.mkdir(parents=True, exist_ok=True)
        if self.args.should_save:
            value = self.accelerator.unwrap_model(model).value_model
            trained = {
                n: p.detach().contiguous() for n, p in value.named_parameters() if p.requires_grad
            }
            save_file(trained, folder / _VALUE)
        super()._save_checkpoint(model, trial)

    def _restore(self, checkpoint: Path) -> int:
        """Loads policy, value model, optimiser and schedule; returns the steps they have behind."""
        set_peft_model_state_dict(
            self.policy_model, load_file(checkpoint / "adapter_model.safetensors")
        )
        self.value_model.load_state_dict(load_file(checkpoint / _VALUE), strict=False)
        for part, name in ((self.optimizer, "optimizer.pt"), (self.lr_scheduler, "scheduler.pt")):
            part.load_state_dict(torch.load(checkpoint / name, weights_only=True))
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        self.state.log_history = state["log_history"]
        return int(state["global_step"])


class _GoesOn(TrainerCallback):
    """Has TRL's loop count from where a checkpoint left off."""

    def __init__(self, trainer: _Trainer, checkpoint: Path | None, done: int) -> None:
        self._trainer = trainer
        self._checkpoint = checkpoint
        self._done = done

    def on_train_begin(
        self,
        args: Any,  # PPOConfig and OnlineTrainerState, TrainerCallback says less
        state: Any,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Sets the counters, and last of all the random numbers."""
        if self._checkpoint is None:
            return
        state.global_step = self._done
        state.episode = self._done * args.batch_size
        args.num_total_batches -= self._done
        self._trainer._load_rng_state(str(self._checkpoint))  # noqa: SLF001 - its own trainer's


class _Order(Sampler[list[int]]):
    """Batches of row numbers without end: each pass shuffled by the seed and its own number.

    Args:
        rows: Number of rows.
        batch: Rows of a batch.
        seed: Decides the order.
        first: Number of the first batch to give.
        stride: Batches from one to the next, for several processes.
    """

    def __init__(self, rows: int, batch: int, *, seed: int, first: int, stride: int) -> None:
        self._rows = rows
        self._batch = batch
        self._seed = seed
        self._first = first
        self._stride = stride

    def __iter__(self) -> Iterator[list[int]]:
        each = self._rows // self._batch
        number = self._first
        while True:
            turn = torch.Generator().manual_seed(self._seed * 1_000_003 + number // each)
            order = torch.randperm(self._rows, generator=turn).tolist()
            at = number % each * self._batch
            yield order[at : at + self._batch]
            number += self._stride


def _arguments(
    options: PpoOptions, tokenizer: PreTrainedTokenizerBase, rows: int
) -> dict[str, Any]:
    batch = options.batch_size * options.accumulation
    batches = max(1, round(options.epochs * rows / batch))
    if options.max_steps is not None:
        batches = options.max_steps * processes()
    return {
        "total_episodes": batches * batch,
        "num_ppo_epochs": options.updates,
        "num_mini_batches": options.mini_batches,
        "local_rollout_forward_batch_size": options.batch_size,
        "response_length": options.answer_tokens,
        "temperature": options.temperature,
        "kl_coef": options.kl,
        "cliprange": options.clip,
        "vf_coef": options.value_weight,
        # It starts from the reward model's head, which knows neither the rules nor likelihoods: held
        # to TRL's 0.2 a batch, it would be tens of batches behind the rewards' mean.
        "cliprange_value": _ANY,
        "missing_eos_penalty": options.no_end_penalty or None,
        "stop_token_id": tokenizer.eos_token_id,
        "num_sample_generations": 0,
        # TRL trains policy and value model in one wrapper that cannot recompute activations.
        "gradient_checkpointing": False,
    }


def _value_model(
    model: Path, reward_model: Path, options: PpoOptions, dtype: torch.dtype
) -> PreTrainedModel:
    """Returns the reward model with a new adapter of its own; adapter and head are trained."""
    value: Any = load_reward_model(model, reward_model, dtype)
    value.word_head = None
    value.requires_grad_(requires_grad=False)
    adapter = lora_config(options.lora)
    adapter.exclude_modules = {"score"}
    inject_adapter_in_model(adapter, value)
    for name, parameter in value.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    value.score.requires_grad_(requires_grad=True)
    value.config.use_cache = False
    result: PreTrainedModel = value
    return result


def _last(run: Run, history: Sequence[dict[str, float]]) -> dict[str, float]:
    if not history:
        raise TrainingError(f"{run.paths.out} was trained for no step")
    kept = ("objective/kl", "objective/scores")
    return {
        name: value
        for name, value in history[-1].items()
        if name in kept or name.startswith("rewards/")
    }
