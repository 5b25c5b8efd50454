"""Proximal policy optimisation (PPO, arXiv 1707.06347) of a model that writes profiles.

The last step of RecLM (arXiv 2412.19302), on TRL's trainer. TRL's takes one reward model and can
neither resume from a checkpoint nor save its value model. This file adds a sum of all rewards in
place of TRL's reward model, the value model in every checkpoint, and an order of prompts that
depends on the seed alone.
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
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Sampler
from transformers import TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer

from training.data.rows import PolicyRow, read_rows
from training.errors import TrainingError
from training.jobs.policy import PolicyOptions, is_policy_metric
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
_NO_CLIPPING = 1e6


class PpoOptions(PolicyOptions):
    """Options of PPO, as TRL's `PPOConfig`.

    A batch is `per_device_train_batch_size` times `gradient_accumulation_steps` prompts, each with one
    response. TRL cannot recompute activations here: `activation_checkpointing` is ignored.

    Attributes:
        kl_coef: Weight of the KL divergence from the model that training starts from.
        response_length: Most tokens of a response.
        num_ppo_epochs: Passes over each batch of responses.
        num_mini_batches: Optimiser steps in each pass.
        cliprange: How far the probability ratio of a token may move within a batch.
        vf_coef: Weight of the value model's loss.
        missing_eos_penalty: Subtracted from the reward of a response without an end-of-sequence token.
    """

    learning_rate: PositiveFloat = 5e-5
    kl_coef: NonNegativeFloat = 0.05
    response_length: PositiveInt = 64
    num_ppo_epochs: PositiveInt = 4
    num_mini_batches: PositiveInt = 1
    cliprange: Annotated[float, Field(gt=0, lt=1)] = 0.2
    vf_coef: NonNegativeFloat = 0.1
    missing_eos_penalty: NonNegativeFloat = 1.0

    @model_validator(mode="after")
    def _mini_batches_divide_a_batch(self) -> Self:
        batch = self.per_device_train_batch_size * self.gradient_accumulation_steps
        if batch % self.num_mini_batches:
            raise ValueError(
                f"num_mini_batches, {self.num_mini_batches}, must divide a batch of {batch}: "
                "per_device_train_batch_size times gradient_accumulation_steps"
            )
        return self


def ppo(options: PpoOptions, paths: RunPaths, *, progress: Callable[[str], object]) -> Path:
    """Trains a policy and returns the folder of its adapter.

    Args:
        options: Options of the job.
        paths: Inputs and outputs; the data are rows of `PolicyRow`. The value model starts from the
            body and head of the reward model, whatever its weight among the rewards.
        progress: Called with lines of progress.

    Raises:
        TrainingError: There is no reward model, there are fewer rows than in a batch, or as
            `open_run`, `start_model`, `chosen` and `saved` do.
    """
    if paths.reward_model is None:
        raise TrainingError("PPO needs a reward model: its value model starts from it")
    rows = read_rows(PolicyRow, paths.data)
    batch = options.per_device_train_batch_size * options.gradient_accumulation_steps
    if len(rows) < batch:
        raise TrainingError(f"{paths.data} has {len(rows)} rows, fewer than a batch of {batch}")
    run = open_run("ppo", options, paths, rows=len(rows))
    tokenizer = load_tokenizer(paths.model)
    tokenizer.padding_side = "left"
    prompts = [token_ids(tokenizer, prompt_text(tokenizer, row.prompt)) for row in rows]
    policy = start_model(paths.model, paths.start, options)
    scorer = load_reward_scorer(paths.model, paths.reward_model, tokenizer, dtype=policy.dtype)
    rewards = chosen(options.rewards, scorer)
    trainer = _Trainer(
        reward_model=_RewardSum(
            rewards, dict(zip(map(tuple, prompts), rows, strict=True)), tokenizer
        ),
        args=arguments(PPOConfig, run, **_arguments(options, tokenizer, len(rows))),
        processing_class=tokenizer,
        model=policy,
        value_model=_value_model(paths.model, paths.reward_model, options, policy.dtype),
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in prompts]),
        peft_config=lora_config(options.lora),
    )
    watch(trainer, run, progress)
    last = run.last_checkpoint()
    trainer.order_prompts(options.seed, last)
    if last is not None:
        progress(f"resuming from {last}")
    # TRL prints to stdout, which is for the result.
    with saved(run), contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    return finish(run, trainer, trainer.policy_model, _last(run, trainer.state.log_history))


class _RewardSum(nn.Module):
    """The weighted sum of rewards, with the body and head that TRL's PPO expects of a reward model.

    Args:
        rewards: Name, function and weight of each reward.
        rows: Row of each prompt, by the tokens of the prompt.
        tokenizer: Decodes the responses.
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
        """Returns the summed reward of each response, at every position of its sequence."""
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
    """TRL's PPO, with complete checkpoints and each reward in the log."""

    def __init__(self, *, reward_model: _RewardSum, **kwargs: Any) -> None:
        super().__init__(ref_model=None, reward_model=reward_model, **kwargs)
        self._reward_model = reward_model

    def order_prompts(self, seed: int, checkpoint: Path | None) -> None:
        """Orders the batches by the seed alone, and skips those before a checkpoint."""
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
            # Of its own, so that creating an iterator draws no number from the generator that samples.
            generator=torch.Generator(),
        )
        self.add_callback(_Resume(self, checkpoint, done))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of each reward since the last call."""
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
        """Loads policy, value model, optimiser and schedule; returns the number of steps taken."""
        set_peft_model_state_dict(
            self.policy_model, load_file(checkpoint / "adapter_model.safetensors")
        )
        self.value_model.load_state_dict(load_file(checkpoint / _VALUE), strict=False)
        for part, name in ((self.optimizer, "optimizer.pt"), (self.lr_scheduler, "scheduler.pt")):
            part.load_state_dict(torch.load(checkpoint / name, weights_only=True))
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        self.state.log_history = state["log_history"]
        return int(state["global_step"])


class _Resume(TrainerCallback):
    """Sets the counters of TRL's loop to those of a checkpoint."""

    def __init__(self, trainer: _Trainer, checkpoint: Path | None, done: int) -> None:
        self._trainer = trainer
        self._checkpoint = checkpoint
        self._done = done

    def on_train_begin(
        self,
        args: Any,  # PPOConfig and OnlineTrainerState; TrainerCallback declares their base classes
        state: Any,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Sets the counters, then the state of the random numbers."""
        if self._checkpoint is None:
            return
        state.global_step = self._done
        state.episode = self._done * args.batch_size
        args.num_total_batches -= self._done
        self._trainer._load_rng_state(str(self._checkpoint))  # noqa: SLF001 - its own trainer's


class _Order(Sampler[list[int]]):
    """Endless batches of row numbers; each pass is shuffled by the seed and the number of the pass.

    Args:
        rows: Number of rows.
        batch: Rows of a batch.
        seed: Seed of the order.
        first: Number of the first batch.
        stride: Distance to the next batch: the number of processes.
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
    batch = options.per_device_train_batch_size * options.gradient_accumulation_steps
    batches = max(1, round(options.num_train_epochs * rows / batch))
    if options.max_steps is not None:
        batches = options.max_steps * processes()
    return {
        "total_episodes": batches * batch,
        "local_rollout_forward_batch_size": options.per_device_train_batch_size,
        # The value model starts from the reward model's head, which knows neither the rules nor
        # likelihoods. Clipped to TRL's 0.2 a batch, it would need tens of batches to reach the mean
        # of the rewards.
        "cliprange_value": _NO_CLIPPING,
        "stop_token_id": tokenizer.eos_token_id,
        "num_sample_generations": 0,
        # TRL trains policy and value model in one wrapper that cannot recompute activations.
        "activation_checkpointing": False,
    }


def _value_model(
    model: Path, reward_model: Path, options: PpoOptions, dtype: torch.dtype
) -> PreTrainedModel:
    """Returns the reward model with a new adapter; the adapter and the head are trained."""
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


def _last(run: Run, log: Sequence[dict[str, float]]) -> dict[str, float]:
    if not log:
        raise TrainingError(f"{run.paths.out} was trained for no step")
    return {name: value for name, value in log[-1].items() if is_policy_metric(name)}
