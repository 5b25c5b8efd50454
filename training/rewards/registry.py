"""What reinforcement learning is paid for: a reward model and four rules, each with its weight.

The paper (arXiv 2412.19302) rewards by model alone. The rules keep the policy from what a reward
model is blind to: form, made-up tastes, and the blandness of profiles that fit everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat

from training.data.rows import PolicyRow
from training.errors import TrainingError
from training.rewards.rules import grounded, is_well_formed, likeness, read_profile
from training.runs.options import Options

if TYPE_CHECKING:
    from training.modeling.reward_model import ModelReward

Reward = Callable[[Sequence[PolicyRow], Sequence[str]], list[float]]
"""Returns a number for each answer, given the prompt's row."""

_FEWEST, _MOST = 12, 40


class RewardWeights(Options):
    """How much each reward counts; at 0 it is not computed.

    Attributes:
        model: The reward model's score, in units of its own (a difference of 1 means odds of e).
        grammar: 1 for a well-formed profile, a half for one that can be repaired, else 0.
        grounded: Share of phrases with a word of the history.
        unlike: 1 less the likeness to the most similar neighbour's profile.
        length: 1 for 12 to 40 words, falling to 0 at none and at twice as many.
    """

    model: NonNegativeFloat = 1.0
    grammar: NonNegativeFloat = 1.0
    grounded: NonNegativeFloat = 0.5
    unlike: NonNegativeFloat = 0.5
    length: NonNegativeFloat = 0.25


def grammar(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards the form."""
    return [
        1.0 if is_well_formed("user", answer) else 0.5 * (read_profile("user", answer) is not None)
        for _, answer in zip(rows, answers, strict=True)
    ]


def ground(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards phrases that stand on the history; nothing for what is no profile."""
    profiles = (read_profile("user", answer) for answer in answers)
    return [
        0.0 if profile is None else grounded(profile, row.lines)
        for row, profile in zip(rows, profiles, strict=True)
    ]


def unlike(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards what the neighbours' profiles do not say; nothing for what is no profile."""
    return [
        0.0 if read_profile("user", answer) is None else 1.0 - likeness(answer, row.neighbours)
        for row, answer in zip(rows, answers, strict=True)
    ]


def length(rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
    """Rewards answers that are neither a stub nor a speech."""
    return [_length(len(answer.split())) for _, answer in zip(rows, answers, strict=True)]


def chosen(weights: RewardWeights, model: ModelReward | None) -> list[tuple[str, Reward, float]]:
    """Returns name, function and weight of each reward that counts.

    Raises:
        TrainingError: None counts, or the model's counts and there is none.
    """
    functions: dict[str, Reward | None] = {
        "model": model,
        "grammar": grammar,
        "grounded": ground,
        "unlike": unlike,
        "length": length,
    }
    found = []
    for name, function in functions.items():
        weight = float(getattr(weights, name))
        if weight == 0:
            continue
        if function is None:
            raise TrainingError(
                "rewards.model counts, and there is no reward model: give --reward ADAPTER, or "
                "set rewards.model to 0"
            )
        found.append((name, function, weight))
    if not found:
        raise TrainingError("all weights in rewards are 0: there is nothing to learn from")
    return found


def _length(words: int) -> float:
    if words < _FEWEST:
        return words / _FEWEST
    return max(0.0, 1.0 - max(0, words - _MOST) / _MOST)
