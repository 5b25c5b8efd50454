"""Group relative policy optimisation (GRPO, arXiv 2402.03300) of a model that writes profiles.

Several answers to each prompt; those better than their group's mean are made likelier. It needs no
value model, where PPO trains one. The divergence that `kl` holds it to is from where it starts:
TRL takes the model with the adapter switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from datasets import Dataset
from pydantic import Field, PositiveFloat, PositiveInt
from trl import GRPOConfig, GRPOTrainer

from training.data.rows import PolicyRow, read_rows
from training.errors import TrainingError
from training.modeling.lora import load_tokenizer, lora_config, start_model
from training.modeling.reward_model import load_reward_scorer
from training.rewards.registry import RewardWeights, chosen
from training.runs.options import JobOptions
from training.runs.run import arguments, finish, open_run, processes, train, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.rewards.registry import Reward
    from training.runs.options import RunPaths


class PolicyOptions(JobOptions):
    """What both ways of reinforcement learning have.

    Attributes:
        rewards: What counts, and how much.
        kl: Weight of the divergence from the start.
        temperature: Of the answers that are sampled.
        answer_tokens: Length of an answer at most.
    """

    rewards: RewardWeights = RewardWeights()
    kl: Annotated[float, Field(ge=0)] = 0.05
    temperature: PositiveFloat = 0.9
    answer_tokens: PositiveInt = 64


class GrpoOptions(PolicyOptions):
    """Options of GRPO; `batch_size` counts answers.

    What a step reads in all processes is a multiple of `answers`.

    Attributes:
        answers: To each prompt.
    """

    batch_size: PositiveInt = 8
    answers: Annotated[int, Field(ge=2)] = 8


@dataclass(frozen=True, slots=True)
class _NamedReward:
    """A reward as TRL calls it: with columns of the rows, and answers as chats."""

    name: str
    reward: Reward

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, completions: Sequence[Any], row: Sequence[str], **_: Any) -> list[float]:
        rows = [PolicyRow.model_validate_json(document) for document in row]
        return self.reward(rows, [turns[0]["content"] for turns in completions])


def grpo(
    options: GrpoOptions,
    paths: RunPaths,
    *,
    reward_model: Path | None,
    progress: Callable[[str], object],
) -> Path:
    """Trains a policy and returns its adapter's folder.

    Args:
        options: How.
        paths: Where; the data are rows of `PolicyRow`.
        reward_model: Adapter of the reward model; None if rewards.model is 0.
        progress: Told of progress.

    Raises:
        TrainingError: A batch does not hold all answers to a prompt, or as `open_run`,
            `start_model`, `chosen` and `train` do.
    """
    rows = read_rows(PolicyRow, paths.data)
    batch = options.batch_size * options.accumulation * processes()
    if batch % options.answers:
        raise TrainingError(
            f"a batch of {batch} (batch_size times accumulation times processes) has to hold all "
            f"{options.answers} answers to each of its prompts: make it a multiple"
        )
    reward_model = reward_model if options.rewards.model else None
    run = open_run("grpo", options, paths, rows=len(rows), reward_model=reward_model)
    tokenizer = load_tokenizer(paths.model)
    policy = start_model(paths.model, paths.start, options)
    scorer = None
    if reward_model is not None:
        scorer = load_reward_scorer(paths.model, reward_model, tokenizer, dtype=policy.dtype)
    rewards = chosen(options.rewards, scorer)
    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=[_NamedReward(name, function) for name, function, _ in rewards],
        args=arguments(
            GRPOConfig,
            run,
            beta=options.kl,
            num_generations=options.answers,
            max_completion_length=options.answer_tokens,
            temperature=options.temperature,
            reward_weights=[weight for _, _, weight in rewards],
        ),
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


def _last(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns what was logged last of rewards and divergence."""
    found: dict[str, float] = {}
    for entry in history:
        found.update(
            {
                name: value
                for name, value in entry.items()
                if name in {"reward", "kl"} or name.startswith("rewards/")
            }
        )
    return found
