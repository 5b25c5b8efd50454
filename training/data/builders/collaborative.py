"""Conversations that train a model to write profiles which predict a user's choices.

Collaborative instruction tuning of RecLM (arXiv 2412.19302, section 3.2). The first answer consists
of the profiles of a user and of similar users, given their histories, in which one item of the user
is hidden. The second answer says whether the user will choose an item. In half of the conversations
it is the hidden item, which a similar user has; in the other half an item that a similar user has and
this user does not.

A small model that is trained on these alone forgets the service's question: asked for one profile, it
writes several. So single profiles, asked for as the service does, can be added for rehearsal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from services.profiles.domain.profile import Message
from training.data.builders.distillation import distillation_rows
from training.data.prompts import turns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.profiles.domain.profile import ProfileText
    from services.profiles.generation.prompts.base import PromptVersion
    from training.data.builders.distillation import Reading
    from training.data.filters.answers import Kept

YES, NO = "Yes", "No"

_OTHERS = "Items that similar users chose:"
_TASK = "Write the profile of the user, then the profile of each similar user, each on a line."
_QUESTION = "Will the user choose this item? Answer Yes or No.\n- {line}"

TOO_SHORT, NO_NEIGHBOUR = "history of one item", "no similar user with a profile"
NOT_SHARED, NOTHING_LACKED = "no similar user has the hidden item", "lacks none of their items"
NOTHING_READABLE = "nothing readable but the hidden item"
_REASONS = (TOO_SHORT, NO_NEIGHBOUR, NOT_SHARED, NOTHING_LACKED, NOTHING_READABLE)


@dataclass(frozen=True, slots=True)
class Collaborative:
    """The conversations, and the users without one.

    Attributes:
        rows: id, kind, neighbours (ids), item (asked about), answer, and messages: system, user,
            assistant, user, assistant. The loss covers both answers and nothing else.
        counts: Reason -> number of users left out.
    """

    rows: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]


def collaborative_rows(
    profiles: Mapping[str, ProfileText],
    histories: Mapping[str, Sequence[str]],
    lines: Mapping[str, str],
    neighbours: Mapping[str, Sequence[str]],
    reading: Reading,
    *,
    similar: int,
    seed: int,
) -> Collaborative:
    """Builds one conversation for each user, where possible.

    A neighbour "has" an item if the prompt shows it in the neighbour's history. This holds for the
    hidden item and for the other one: otherwise the prompt would give the answer away.

    Args:
        profiles: User id -> profile; only these users are asked about and shown as similar.
        histories: User id -> item ids, oldest first, of the training part alone.
        lines: Item id -> its line.
        neighbours: User id -> ids of similar users, the nearest first.
        reading: The budget of each history.
        similar: Most similar users in a conversation.
        seed: Random seed. Each user has a generator of its own, so that other users change nothing
            but whether the answer is Yes or No.
    """
    counts: Counter[str] = Counter(dict.fromkeys(_REASONS, 0))
    built: list[dict[str, Any]] = []
    for row, (user, words) in enumerate(profiles.items()):
        rng = np.random.default_rng([seed, row])
        history = list(dict.fromkeys(histories.get(user, ())))
        others = [
            other for other in neighbours.get(user, ()) if other in profiles and other in histories
        ][:similar]
        if len(history) < 2:
            counts[TOO_SHORT] += 1
            continue
        if not others:
            counts[NO_NEIGHBOUR] += 1
            continue
        hidden = history[rng.integers(len(history))]
        shown = {other: _shown(histories[other], lines, reading) for other in others}
        has = {item for items in shown.values() for item in items}
        chosen = set(history)
        lacked = [item for items in shown.values() for item in items if item not in chosen]
        read = _shown([item for item in history if item != hidden], lines, reading)
        if hidden not in has:
            counts[NOT_SHARED] += 1
        elif not lacked:
            counts[NOTHING_LACKED] += 1
        elif not read:
            counts[NOTHING_READABLE] += 1
        else:
            built.append(
                {
                    "user": user,
                    "others": others,
                    "read": read,
                    "shown": shown,
                    "hidden": hidden,
                    "lacked": lacked[rng.integers(len(lacked))],
                    "words": words,
                }
            )
    yes = set(np.random.default_rng([seed, len(profiles)]).permutation(len(built))[::2].tolist())
    rows = [
        _row(sample, profiles, lines, reading.prompt, answer=YES if number in yes else NO)
        for number, sample in enumerate(built)
    ]
    return Collaborative(rows, dict(counts))


def rehearsal_rows(
    kept: Sequence[Kept], reading: Reading, *, most: int, seed: int
) -> list[dict[str, Any]]:
    """Returns chats that ask for one profile, as the service does: id, kind and messages.

    Args:
        kept: Profiles with the lines that were read for them.
        reading: The budget of a prompt.
        most: Most chats, each of another user.
        seed: Random seed of the draw.
    """
    rows = list(distillation_rows(kept, reading))
    drawn = np.random.default_rng([seed, len(rows)]).permutation(len(rows))[:most]
    return [
        {"id": row["id"], "kind": row["kind"], "messages": [*row["prompt"], *row["completion"]]}
        for row in (rows[number] for number in sorted(drawn.tolist()))
    ]


def _shown(history: Sequence[str], lines: Mapping[str, str], reading: Reading) -> list[str]:
    """Returns the newest items of a history that fit into the budget."""
    readable = [item for item in history if lines[item]][-reading.max_items :]
    fitting = reading.cut([lines[item] for item in readable])
    return readable[len(readable) - len(fitting) :]


def _row(
    sample: Mapping[str, Any],
    profiles: Mapping[str, ProfileText],
    lines: Mapping[str, str],
    prompt: PromptVersion,
    *,
    answer: str,
) -> dict[str, Any]:
    item = sample["hidden"] if answer == YES else sample["lacked"]
    system, asked = prompt.user_messages([lines[name] for name in sample["read"]], examples=False)
    parts = [asked.content, _OTHERS]
    for number, other in enumerate(sample["others"], start=1):
        listed = "\n".join(f"- {lines[name]}" for name in sample["shown"][other])
        parts.append(f"Similar user {number}:\n{listed}")
    written = [sample["words"], *(profiles[other] for other in sample["others"])]
    chat = [
        system,
        Message("user", "\n".join([*parts, _TASK])),
        Message("assistant", "\n".join(words.text for words in written)),
        Message("user", _QUESTION.format(line=lines[item])),
        Message("assistant", answer),
    ]
    return {
        "id": sample["user"],
        "kind": "user",
        "neighbours": sample["others"],
        "item": item,
        "answer": answer,
        "messages": turns(chat),
    }
