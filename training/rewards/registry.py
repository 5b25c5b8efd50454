"""All rewards of reinforcement learning, with their weights: rules, and a reward model.

The paper (arXiv 2412.19302) uses a reward model alone. The rules cover what a reward model does not
see: the form, phrases without ground in the history, and profiles that fit everyone.

A new rule is a function, a line in `RULES`, and its weight in `RewardWeights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat

from training.data.rows import PolicyRow
from training.errors import TrainingError
from training.rewards.rules import grounded_share, is_well_formed, read_profile, similarity
from training.runs.options import Options

if TYPE_CHECKING:
    from training.modeling.reward_model import ModelReward

Reward = Callable[[Sequence[PolicyRow], Sequence[str]], list[float]]
"""Returns a number for each answer, given the rows of the prompts."""

_FEWEST, _MOST = 12, 40


class RewardWeights(Options):
    """Weight of each reward. A reward of weight 0 is not computed.

    Attributes:
        model: The reward model's score, a logit: a difference of 1 is a factor of e in the odds.
        grammar: 1 for a well-formed profile, 0.5 for one that can be repaired, else 0.
        grounded: Share of phrases with a content word of the history.
        unlike: 1 minus the similarity to the most similar neighbour's profile.
        length: 1 for 12 to 40 words, falling linearly to 0 at no words and at 80.
    """

    model: NonNegativeFloat = 1.0
    grammar: NonNegativeFloat = 1.0
    grounded: NonNegativeFloat = 0.5
    unlike: NonNegativeFloat = 0.5
    length: NonNegativeFloat = 0.25


def grammar(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards the form of a profile."""
    return [
        1.0 if is_well_formed("user", answer) else 0.5 * (read_profile("user", answer) is not None)
        for _, answer in zip(rows, answers, strict=True)
    ]


def grounded(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards phrases that the history supports; 0 for an answer that is not a profile."""
    profiles = (read_profile("user", answer) for answer in answers)
    return [
        0.0 if profile is None else grounded_share(profile, row.lines)
        for row, profile in zip(rows, profiles, strict=True)
    ]


def unlike(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards profiles unlike those of neighbours; 0 for an answer that is not a profile."""
    return [
        0.0 if read_profile("user", answer) is None else 1.0 - similarity(answer, row.neighbours)
        for row, answer in zip(rows, answers, strict=True)
    ]


def length(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards answers that are neither too short nor too long."""
    return [_length(len(answer.split())) for _, answer in zip(rows, answers, strict=True)]


RULES: Mapping[str, Reward] = {
    "grammar": grammar,
    "grounded": grounded,
    "unlike": unlike,
    "length": length,
}
"""Rewards by rule, between 0 and 1, under the name of their weight."""


def chosen(weights: RewardWeights, model: ModelReward | None) -> list[tuple[str, Reward, float]]:
    """Returns name, function and weight of each reward whose weight is not 0.

    Args:
        weights: The weights.
        model: The reward model; None without one.

    Raises:
        TrainingError: All weights are 0, or the model has a weight and there is no model.
    """
    found: list[tuple[str, Reward, float]] = []
    if weights.model:
        if model is None:
            raise TrainingError(
                "rewards.model is not 0, and there is no reward model: give --reward ADAPTER, or set "
                "rewards.model to 0"
            )
        found.append(("model", model, weights.model))
    for name, rule in RULES.items():
        if weight := float(getattr(weights, name)):
            found.append((name, rule, weight))
    if not found:
        raise TrainingError("all weights in rewards are 0: there is nothing to train on")
    return found


def _length(words: int) -> float:
    if words < _FEWEST:
        return words / _FEWEST
    return max(0.0, 1.0 - max(0, words - _MOST) / _MOST)
