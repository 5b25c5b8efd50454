"""The chat prompts that the service sends to its model, for the users or items of a dataset.

A teacher that answers them and a model trained on the answers read what a served model reads: the
same lines, cut to the same token budget, in the same chat.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommenders.data.neighbours import co_chosen
from services.common.files import atomic_file
from services.profiles.domain.profile import Item
from services.profiles.generation.prompts.item_text import item_line
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import newest_that_fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from services.profiles.domain.profile import Kind, Message
    from services.profiles.generation.prompts.base import PromptVersion
    from services.profiles.generation.token_budget import TokenCounter


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat that asks for the profile of one user or item.

    Attributes:
        lines: The user's items, oldest first, or the one item, as they stand in the chat.
        neighbours: The items in the chat that the same people chose; for an item.
    """

    id: str
    kind: Kind
    messages: Sequence[Message]
    lines: Sequence[str]
    neighbours: Sequence[str] = ()

    def to_json(self) -> str:
        """Returns the prompt as a line of JSONL."""
        document = {"id": self.id, "kind": self.kind, "messages": turns(self.messages)}
        return json.dumps(document, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptOptions:
    """How prompts are written.

    Attributes:
        count: The model's token counter.
        history_tokens: Most tokens of history, as the service's setting of that name.
        max_items: Most items of history, and most neighbours of an item.
        min_weight: Least weight of an interaction that counts.
        examples: Whether to show the worked examples, as the service does for a model without an adapter.
        prompt: The version of the prompt.
    """

    count: TokenCounter
    history_tokens: int
    max_items: int
    min_weight: float | None
    examples: bool
    prompt: PromptVersion = CURRENT


def turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Returns a chat as JSON objects, as TRL and chat templates expect them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def user_prompts(dataset: Dataset, options: PromptOptions) -> Iterator[Prompt]:
    """Yields a prompt for each user whose history has readable text."""
    lines = item_lines(dataset)
    for user, history in dataset.histories(min_weight=options.min_weight).items():
        if cut := _cut([lines[item] for item in history[-options.max_items :]], options):
            messages = options.prompt.user_messages(cut, examples=options.examples)
            yield Prompt(user, "user", messages, cut)


def item_prompts(dataset: Dataset, options: PromptOptions) -> Iterator[Prompt]:
    """Yields a prompt for each item that, or whose neighbours, have readable text."""
    lines = item_lines(dataset)
    histories = dataset.histories(min_weight=options.min_weight)
    neighbours = co_chosen(histories, list(lines), limit=options.max_items)
    for (item, line), others in zip(lines.items(), neighbours, strict=True):
        (subject,) = newest_that_fit([line], options.history_tokens, options.count)
        alongside = _cut([lines[other] for other in others], options)
        if subject or alongside:
            messages = options.prompt.item_messages(subject, alongside, examples=options.examples)
            yield Prompt(item, "item", messages, [subject], alongside)


def write_jsonl(prompts: Iterable[Prompt], path: Path) -> int:
    """Writes prompts atomically, one a line, and returns their number."""
    count = 0
    with atomic_file(path) as file:
        for prompt in prompts:
            file.write((prompt.to_json() + "\n").encode())
            count += 1
    return count


def item_lines(dataset: Dataset) -> Mapping[str, str]:
    """Returns item id -> line, in the order of the items."""
    columns = ("item_id", "title", "category", "description")
    rows = zip(*(dataset.items[column].to_pylist() for column in columns), strict=True)
    return {row[0]: item_line(Item(*row)) for row in rows}


def _cut(lines: Iterable[str], options: PromptOptions) -> list[str]:
    readable = [line for line in lines if line]
    return newest_that_fit(readable, options.history_tokens, options.count)
