"""Estimates of the requests, tokens and cost of asking a teacher."""

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
    """Prices of a million tokens of a teacher, in any currency."""

    prompt: float
    answer: float

    def cost(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Returns the cost of tokens."""
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The estimate for a run in which every first answer is well formed.

    Attributes:
        requests: Number of requests.
        prompt_tokens: Prompt tokens of all requests.
        answer_tokens: Tokens of all answers of the usual length of a profile.
        most_answer_tokens: Tokens of all answers of the greatest length.
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
            return text + "; give --prompt-price and --answer-price for the cost"
        least = prices.cost(self.prompt_tokens, self.answer_tokens)
        return f"{text}: about {least:,.2f}, at most {self.most(prices):,.2f}"

    def most(self, prices: Prices) -> float:
        """Returns the cost with answers of the greatest length, none asked for again."""
        return prices.cost(self.prompt_tokens, self.most_answer_tokens)


def about_a_token(text: str) -> int:
    """Estimates the number of tokens without a tokenizer: four bytes each, as in English."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def estimate(prompts: Iterable[Prompt], count: TokenCounter, *, answer_limit: int) -> Estimate:
    """Estimates requests and tokens.

    Args:
        prompts: The prompts to send.
        count: Counts the tokens of a text.
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
