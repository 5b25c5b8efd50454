"""Prompts for evaluation: of users without a profile in the training data, with further choices.

A teacher's own prompts may show nearly all known choices of a user. Here a prompt shows a few choices,
drawn at random; the others are hidden, for a profile to find.
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
    """The prompts, and the users without one.

    Attributes:
        rows: id, kind, prompt, and `hidden`, the number of hidden choices. `compare` counts fewer: it
            excludes items whose title is part of the title of an item in the prompt.
        counts: Reason -> number of users left out, for every reason.
        cut: Number of prompts without room for all drawn items.
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
    """Draws users, and items of their histories for the prompts.

    Args:
        histories: User -> items, oldest first. A prompt keeps this order.
        lines: Item -> its line in a prompt; empty without readable text.
        seen: Users to leave out.
        reading: The budget of a prompt; `max_items` items are drawn. Items without room are hidden.
        users: Most users.
        hidden: Least number of choices besides the drawn ones.
        seed: Random seed.
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
