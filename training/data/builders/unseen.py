"""Prompts to judge by: of users of whom no profile was taught, with choices left to find.

A teacher's own prompts hold what it had read, of which little may be known besides. Here a prompt
names a few of a user's choices, drawn at random, and all others are what a profile can be asked
to find.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.prompts import turns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from training.data.builders.distillation import Reading


@dataclass(frozen=True, slots=True)
class Unseen:
    """Prompts of users, and why the others have none.

    Attributes:
        rows: id, kind, prompt, and how many choices are `hidden`, by id. `compare` hides less by
            the few whose title stands in that of an item which the prompt names.
        counts: Reason -> number of users left out, every reason named.
        cut: Prompts in which not all that was drawn has room.
    """

    rows: Sequence[dict[str, Any]]
    counts: Mapping[str, int]
    cut: int


def unseen_rows(
    histories: Mapping[str, Sequence[str]],
    lines: Mapping[str, str],
    seen: Collection[str],
    reading: Reading,
    *,
    users: int,
    hidden: int,
    seed: int,
) -> Unseen:
    """Draws users, and from each of their histories what the prompt shows.

    Args:
        histories: User -> items, oldest first. What is shown keeps that order.
        lines: Item -> its line in a prompt; empty where there is nothing readable.
        seen: Users to leave out.
        reading: Its `max_items` are drawn of each. What has no room in the prompt is hidden too.
        users: Most of them.
        hidden: Choices beside those drawn, at least.
        seed: Another seed draws others.
    """
    counts = Counter({"seen": 0, "too few choices": 0, "nothing readable": 0, "not drawn": 0})
    rows: list[dict[str, Any]] = []
    cut = 0
    rng = np.random.default_rng(seed)
    names = sorted(histories)
    for name in (names[place] for place in rng.permutation(len(names))):
        history = list(dict.fromkeys(histories[name]))
        if name in seen:
            counts["seen"] += 1
        elif len(history) < reading.max_items + hidden:
            counts["too few choices"] += 1
        elif len(rows) == users:
            counts["not drawn"] += 1
        else:
            drawn = sorted(rng.choice(len(history), reading.max_items, replace=False).tolist())
            if shown := reading.cut([lines[history[place]] for place in drawn]):
                prompt = turns(reading.prompt.user_messages(shown, examples=reading.examples))
                rest = len(history) - len(shown)
                rows.append({"id": name, "kind": "user", "prompt": prompt, "hidden": rest})
                cut += len(shown) < len(drawn)
            else:
                counts["nothing readable"] += 1
    return Unseen(rows, dict(counts), cut)
