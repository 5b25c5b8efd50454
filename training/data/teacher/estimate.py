"""What asking a teacher will take, told before the first request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.generation.token_budget import count_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.profiles.domain.profile import Kind
    from services.profiles.generation.token_budget import TokenCounter
    from training.data.prompts import Prompt

ANSWER_TOKENS: Mapping[Kind, int] = {"user": 60, "item": 90}
"""Tokens of an answer in the form of a profile: the seed set's average, and a fifth more."""

_BYTES_A_TOKEN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """What a teacher's tokens cost, in any currency, for a million of them."""

    prompt: float
    answer: float

    def cost(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Returns what so many tokens cost."""
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What is to be expected of a run in which every first answer is well formed.

    Attributes:
        requests: Chats to be sent.
        prompt_tokens: In all of them.
        answer_tokens: In all answers, if each is in the form of a profile.
        most_answer_tokens: In all answers, if each is as long as it may be.
    """

    requests: int
    prompt_tokens: int
    answer_tokens: int
    most_answer_tokens: int

    def describe(self, prices: Prices | None) -> str:
        """Returns the estimate in a line."""
        text = (
            f"{self.requests:,} requests, about {self.prompt_tokens:,} prompt tokens and "
            f"{self.answer_tokens:,} to {self.most_answer_tokens:,} answer tokens"
        )
        if prices is None:
            return text + "; say --prompt-price and --answer-price for the cost"
        least = prices.cost(self.prompt_tokens, self.answer_tokens)
        return f"{text}: about {least:,.2f}, at most {self.most(prices):,.2f}"

    def most(self, prices: Prices) -> float:
        """Returns the cost if each answer is as long as it may be, and none is asked for again."""
        return prices.cost(self.prompt_tokens, self.most_answer_tokens)


def about_a_token(text: str) -> int:
    """Counts tokens where there is no tokenizer: four bytes each, as in English."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def estimate(prompts: Iterable[Prompt], count: TokenCounter, *, answer_limit: int) -> Estimate:
    """Returns what asking will take.

    Args:
        prompts: What will be sent.
        count: Counts tokens of a text.
        answer_limit: Most tokens of an answer.
    """
    requests = prompt_tokens = answer_tokens = 0
    for prompt in prompts:
        requests += 1
        prompt_tokens += count_messages(prompt.messages, count)
        answer_tokens += min(ANSWER_TOKENS[prompt.kind], answer_limit)
    return Estimate(
        requests=requests,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        most_answer_tokens=requests * answer_limit,
    )
