"""Preference pairs for a reward model, and prompts for reinforcement learning.

The users are divided into three disjoint parts: for training the reward model, for its evaluation,
and for reinforcement learning.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from services.profiles.domain.profile import Message
from training.data.builders.corruptions import SHARES, Shares, corrupt
from training.data.errors import InstructionDataError
from training.data.prompts import turns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.data.builders.distillation import Reading
    from training.data.filters.answers import Kept

REWARD_TRAIN, REWARD_EVAL, REINFORCEMENT = "reward-train", "reward-eval", "rl"
PARTS: Mapping[str, float] = {REWARD_TRAIN: 0.4, REWARD_EVAL: 0.2, REINFORCEMENT: 0.4}
"""Part -> share of the users (arXiv 2412.19302)."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """The pairs and prompts, and the users without any.

    Attributes:
        rows: Part -> rows. Those of the first two have id, kind, corruption, prompt, chosen and
            rejected. Those of `rl` have id, kind, prompt, lines (of the prompt), neighbours (texts of
            their profiles) and reference (the user's own profile).
        counts: Reason -> number of users left out; `PART: KIND OF CORRUPTION` -> number of pairs.
    """

    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    counts: Mapping[str, int] = field(default_factory=dict)


def preference_rows(
    kept: Sequence[Kept],
    neighbours: Mapping[str, Sequence[str]],
    reading: Reading,
    *,
    shares: Mapping[str, float] = SHARES,
    parts: Mapping[str, float] = PARTS,
    pairs: int = 1,
    seed: int,
) -> Preferences:
    """Builds pairs and prompts.

    Users without a readable line, or without a neighbour who has another profile, are left out.

    Args:
        kept: Profiles of users, with the lines that were read for them.
        neighbours: User id -> ids of similar users, the nearest first.
        reading: The budget of a prompt.
        shares: Kind of corruption -> share of the pairs.
        parts: Part -> share of the users.
        pairs: Pairs of each user that the reward model is trained on, each with the next neighbour.
        seed: Random seed.

    Raises:
        InstructionDataError: The shares are not valid, or no user is left.
    """
    draw = Shares(shares)
    if set(parts) != set(PARTS) or min(parts.values()) < 0 or abs(sum(parts.values()) - 1) > 1e-9:
        raise InstructionDataError(f"parts must be {', '.join(PARTS)}, adding up to 1: {parts}")
    words = {row.answer.id: row.words for row in kept}
    able, counts = [], Counter({"nothing readable": 0, "no neighbour with another profile": 0})
    for row in kept:
        messages = reading.messages(row.answer)
        others = [
            words[other]
            for other in neighbours.get(row.answer.id, ())
            if other in words and words[other] != row.words
        ]
        if messages is None:
            counts["nothing readable"] += 1
        elif not others:
            counts["no neighbour with another profile"] += 1
        else:
            able.append((row, turns(messages), others))
    if not able:
        raise InstructionDataError(f"no user is left to build pairs from: {dict(counts)}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(able))
    ends = np.rint(np.cumsum([parts[name] for name in PARTS]) * len(able)).astype(int).tolist()
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for name, start, end in zip(PARTS, [0, *ends], ends, strict=False):
        members = [able[number] for number in sorted(order[start:end].tolist())]
        if name == REINFORCEMENT:
            rows[name] = [
                {
                    "id": row.answer.id,
                    "kind": row.answer.kind,
                    "prompt": prompt,
                    "lines": reading.cut(row.answer.lines),
                    "neighbours": [other.text for other in others],
                    "reference": row.words.text,
                }
                for row, prompt, others in members
            ]
            continue
        turns_of = pairs if name == REWARD_TRAIN else 1
        each = [(turn, member) for member in members for turn in range(turns_of)]
        kinds = draw.draw(len(each), rng)
        rows[name] = []
        for (turn, (row, prompt, others)), kind in zip(each, kinds, strict=True):
            other = others[turn % len(others)]
            counts[f"{name}: {kind}"] += 1
            rows[name].append(
                {
                    "id": row.answer.id,
                    "kind": row.answer.kind,
                    "corruption": kind,
                    "prompt": prompt,
                    "chosen": turns([Message("assistant", row.words.text)]),
                    "rejected": turns([Message("assistant", corrupt(kind, row.words, other))]),
                }
            )
    return Preferences(rows, dict(counts))
