"""What both ways of reinforcement learning, PPO and GRPO, have in common."""

from __future__ import annotations

from pydantic import PositiveFloat

from training.rewards.registry import RewardWeights
from training.runs.options import JobOptions


class PolicyOptions(JobOptions):
    """Options of reinforcement learning.

    Attributes:
        rewards: Weight of each reward.
        temperature: Sampling temperature of the completions.
    """

    rewards: RewardWeights = RewardWeights()
    temperature: PositiveFloat = 0.9


def is_policy_metric(name: str) -> bool:
    """Returns whether an entry of a training log is a reward or a KL divergence."""
    return name in _METRICS or name.startswith("rewards/")


_METRICS = frozenset({"reward", "kl", "objective/kl", "objective/scores"})
