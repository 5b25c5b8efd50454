"""What the service asks of whatever writes text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.profiles.domain.profile import Message

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt, and how to decode it.

    Attributes:
        pattern: A regular expression that all that is written must match, enforced while decoding
            and checked by the parser in any case.
        presence_penalty: Taken once from the logit of every token that the answer has already,
            as in the OpenAI API. Both penalties keep a small model from repeating itself.
        frequency_penalty: Taken again for each time it is there. A high one eats the commas.
        begun: How the answer begins already, without a space at its end; what is written follows
            it, and does not repeat it.
        unwanted: Phrases that are not to be written again. Their usual tokens are banned; a model that
            insists may spell one with others, so whoever asks looks at the answer.
        background: Let requests without this go first, where the generator has a queue.
    """

    messages: Sequence[Message]
    pattern: str
    max_tokens: int
    temperature: float
    presence_penalty: float
    frequency_penalty: float
    begun: str = ""
    unwanted: tuple[str, ...] = ()
    background: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """What came back, and what it cost in tokens."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Generator(Protocol):
    """Writes text from chat messages.

    `generate` and `check` raise ModelUnavailable, and Overloaded when the server says so; both
    end within the time limit that the generator was made with.
    """

    async def generate(self, request: GenerationRequest) -> Generation:
        """Answers one prompt. Many calls may run at once."""
        ...

    async def context_window(self) -> int:
        """Returns the most tokens that prompt and answer may have together."""
        ...

    async def check(self) -> None:
        """Raises unless the model is ready to answer."""
        ...

    async def aclose(self) -> None:
        """Frees what the generator holds."""
        ...


def turns(messages: Sequence[Message], *, begun: str) -> list[dict[str, str]]:
    """Returns chat turns as chat templates have them, with the answer that is to be continued."""
    had = [Message("assistant", begun)] if begun else []
    return [{"role": turn.role, "content": turn.content} for turn in (*messages, *had)]
