"""Limits what the model reads to a number of tokens, counted by the model's own tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.common.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from services.profiles.domain.profile import Message

_PER_MESSAGE = 8
"""Tokens a chat template adds to a turn: role, separators and line breaks."""


class TokenCounter(Protocol):
    """Counts tokens of a text."""

    def __call__(self, text: str) -> int:
        """Returns the count, never too low."""
        ...


def utf8_length(text: str) -> int:
    """Counts bytes: no byte-level tokenizer makes more tokens than that."""
    return len(text.encode())


def tokenizer_counter(folder: Path) -> TokenCounter:
    """Returns a counter that uses `tokenizer.json` in a model's folder.

    Raises:
        TokenizerError: As `read_tokenizer` does.
    """
    tokenizer = read_tokenizer(folder)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def count_messages(messages: Sequence[Message], count: TokenCounter) -> int:
    """Returns the tokens of a chat, with a generous allowance for the template's markers."""
    return sum(count(message.content) + _PER_MESSAGE for message in messages)


def newest_that_fit(lines: Sequence[str], budget: int, count: TokenCounter) -> list[str]:
    """Returns as many of the last lines as fit into a budget, in their order.

    The newest line is always included; if it alone is over the budget, it is cut.

    Args:
        lines: Oldest first.
        budget: Tokens that the result may have, list marks included.
        count: Counts the tokens of a line.
    """
    return first_that_fit(reversed(lines), budget, count)[::-1]


def first_that_fit(lines: Iterable[str], budget: int, count: TokenCounter) -> list[str]:
    """Returns as many of the first lines as fit into a budget; no later line is asked for.

    The first line is always included; if it alone is over the budget, it is cut.

    Args:
        lines: In the order in which they count.
        budget: Tokens that the result may have, list marks included.
        count: Counts the tokens of a line.
    """
    kept: list[str] = []
    left = budget
    for line in lines:
        cost = count(f"- {line}\n") + 1
        if cost > left:
            return kept or [_cut(line, budget, count)]
        left -= cost
        kept.append(line)
    return kept


def _cut(line: str, budget: int, count: TokenCounter) -> str:
    """Returns the longest beginning of a line that is within the budget (bisection)."""
    low, high = 1, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        if count(f"- {line[:middle]}\n") + 1 <= budget:
            low = middle
        else:
            high = middle - 1
    return line[:low]
