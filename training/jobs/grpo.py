"""Group relative policy optimisation (GRPO, arXiv 2402.03300) of a model that writes profiles.

The model writes several completions for each prompt; those with a higher reward than the mean of
their group become more likely. GRPO needs no value model, PPO does. The reference policy is the
model that training starts from: TRL computes it with the adapter switched off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from datasets import Dataset
from pydantic import Field, NonNegativeFloat, PositiveInt
from trl import GRPOConfig, GRPOTrainer

from training.data.rows import PolicyRow, read_rows
from training.errors import TrainingError
from training.jobs.policy import PolicyOptions, is_policy_metric
from training.modeling.lora import load_tokenizer, lora_config, start_model
from training.modeling.reward_model import load_reward_scorer
from training.rewards.registry import chosen
from training.runs.run import arguments, finish, open_run, processes, train, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.rewards.registry import Reward
    from training.runs.options import RunPaths


class GrpoOptions(PolicyOptions):
    """Options of GRPO, as TRL's `GRPOConfig`.

    `per_device_train_batch_size` counts completions. The completions of an optimiser step in all
    processes must be a multiple of `num_generations`.

    Attributes:
        beta: Weight of the KL divergence from the model that training starts from.
        num_generations: Completions of each prompt.
        max_completion_length: Most tokens of a completion.
    """

    per_device_train_batch_size: PositiveInt = 8
    beta: NonNegativeFloat = 0.05
    num_generations: Annotated[int, Field(ge=2)] = 8
    max_completion_length: PositiveInt = 64


@dataclass(frozen=True, slots=True)
class _NamedReward:
    """A reward with the signature that TRL calls: completions as chats, columns of the dataset."""

    name: str
    reward: Reward

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, completions: Sequence[Any], row: Sequence[str], **_: Any) -> list[float]:
        rows = [PolicyRow.model_validate_json(document) for document in row]
        return self.reward(rows, [turns[0]["content"] for turns in completions])


def grpo(options: GrpoOptions, paths: RunPaths, *, progress: Callable[[str], object]) -> Path:
    """Trains a policy and returns the folder of its adapter.

    Args:
        options: Options of the job.
        paths: Inputs and outputs; the data are rows of `PolicyRow`. The reward model may be None
            if rewards.model is 0, and is not read then.
        progress: Called with lines of progress.

    Raises:
        TrainingError: A batch does not hold all completions of a prompt, or as `open_run`,
            `start_model`, `chosen` and `train` do.
    """
    rows = read_rows(PolicyRow, paths.data)
    batch = options.per_device_train_batch_size * options.gradient_accumulation_steps * processes()
    if batch % options.num_generations:
        raise TrainingError(
            f"a batch of {batch} (per_device_train_batch_size times gradient_accumulation_steps times "
            f"processes) must hold all {options.num_generations} completions of each of its prompts: "
            "make it a multiple of num_generations"
        )
    if not options.rewards.model:
        paths = replace(paths, reward_model=None)
    run = open_run("grpo", options, paths, rows=len(rows))
    tokenizer = load_tokenizer(paths.model)
    policy = start_model(paths.model, paths.start, options)
    scorer = None
    if paths.reward_model is not None:
        scorer = load_reward_scorer(paths.model, paths.reward_model, tokenizer, dtype=policy.dtype)
    rewards = chosen(options.rewards, scorer)
    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=[_NamedReward(name, function) for name, function, _ in rewards],
        args=arguments(GRPOConfig, run, reward_weights=[weight for _, _, weight in rewards]),
        train_dataset=Dataset.from_list(
            [
                {
                    "prompt": [turn.model_dump() for turn in row.prompt],
                    "row": row.model_dump_json(),
                }
                for row in rows
            ]
        ),
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
    watch(trainer, run, progress)
    train(trainer, run)
    return finish(run, trainer, trainer.model, _last(trainer.state.log_history))


def _last(log: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the last logged value of each reward and of the divergence."""
    return {name: value for entry in log for name, value in entry.items() if is_policy_metric(name)}
