"""Pairs of a prompt and a profile, on which a model is trained to write profiles.

The prompt is the one that the service sends for the lines that the teacher read. Rows have TRL's
`prompt` and `completion`, so that the loss covers the profile alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.profiles.domain.profile import Message
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import newest_that_fit
from training.data.prompts import turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from services.profiles.generation.prompts.base import PromptVersion
    from services.profiles.generation.token_budget import TokenCounter
    from training.data.filters.answers import Kept
    from training.data.teacher.answers import TeacherAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The budget of a prompt: how many of the lines that a teacher read it shows.

    Attributes:
        count: The model's token counter.
        history_tokens: Most tokens of a history, or of neighbours, as in the service's setting.
        max_items: Most items of either.
        examples: Whether to show the worked examples, as the service does for a model without an
            adapter.
        prompt: The version of the prompt.
    """

    count: TokenCounter
    history_tokens: int
    max_items: int
    examples: bool = False
    prompt: PromptVersion = CURRENT

    def messages(self, answer: TeacherAnswer) -> list[Message] | None:
        """Returns the service's chat for an answer; None where no line is readable."""
        lines, neighbours = self.cut(answer.lines), self.cut(answer.neighbours)
        if answer.kind == "user":
            return self.prompt.user_messages(lines, examples=self.examples) if lines else None
        if not lines and not neighbours:
            return None
        subject = lines[-1] if lines else ""
        return self.prompt.item_messages(subject, neighbours, examples=self.examples)

    def cut(self, lines: Sequence[str]) -> list[str]:
        """Returns the newest lines that fit."""
        readable = [line for line in lines if line][-self.max_items :]
        return newest_that_fit(readable, self.history_tokens, self.count)


def distillation_rows(kept: Iterable[Kept], reading: Reading) -> Iterator[dict[str, Any]]:
    """Yields a row for each answer: id, kind, source, prompt, completion.

    Answers without a readable line give no row.
    """
    for row in kept:
        messages = reading.messages(row.answer)
        if messages is not None:
            yield {
                "id": row.answer.id,
                "kind": row.answer.kind,
                "source": row.answer.source,
                "prompt": turns(messages),
                "completion": turns([Message("assistant", row.words.text)]),
            }


def unanswered_rows(
    answers: Iterable[TeacherAnswer], kept: Iterable[Kept], reading: Reading
) -> Iterator[dict[str, Any]]:
    """Yields a prompt for each user or item without a kept answer: id, kind, source, prompt.

    They are neither in the training rows nor in the held-out ones.
    """
    seen = {(row.answer.kind, row.answer.id) for row in kept}
    for answer in answers:
        messages = None if (answer.kind, answer.id) in seen else reading.messages(answer)
        if messages is not None:
            seen.add((answer.kind, answer.id))
            yield {
                "id": answer.id,
                "kind": answer.kind,
                "source": answer.source,
                "prompt": turns(messages),
            }


def is_held_out(kind: str, name: str, *, share: float, seed: int) -> bool:
    """Returns whether a user or item is held out. It depends on these arguments alone.

    Args:
        kind: User or item.
        name: The id.
        share: Share of all users or items that is held out.
        seed: Random seed.
    """
    digest = hashlib.sha256(f"{seed}\n{kind}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64
