"""Pairs of a prompt and a profile, from which a model learns to write profiles.

The prompt is the one that the service sends for what the teacher had read. Rows have TRL's
prompt and completion, so that the loss is on the profile alone.
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
    from training.data.teacher.answers import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How much of what a teacher read goes into a prompt.

    Attributes:
        count: The model's token counter.
        history_tokens: Most tokens of a history, or of neighbours, as the service's setting.
        max_items: Most items of either.
        examples: Show the worked examples, as the service does for a model without an adapter.
        prompt: The version of the prompt.
    """

    count: TokenCounter
    history_tokens: int
    max_items: int
    examples: bool = False
    prompt: PromptVersion = CURRENT

    def messages(self, answer: Answer) -> list[Message] | None:
        """Returns the service's chat for an answer; None where there was nothing readable."""
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

    Answers whose teacher had read nothing that can be shown give no row.
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


def untaught_rows(
    answers: Iterable[Answer], kept: Iterable[Kept], reading: Reading
) -> Iterator[dict[str, Any]]:
    """Yields a prompt for each user or item of whom no answer was kept: id, kind, source, prompt.

    Nothing is learnt from them, and no choice between models need look at them.
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
    """Says whether a user or item is kept from training, whatever else is in the data.

    Args:
        kind: User or item.
        name: The id.
        share: Of all, how many are held out.
        seed: Another seed holds others out.
    """
    digest = hashlib.sha256(f"{seed}\n{kind}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64
