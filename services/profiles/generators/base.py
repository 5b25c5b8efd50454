"""What the service asks of a model that writes text."""

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
        pattern: A regular expression that the new text must match. Decoding is constrained to it,
            and the parser checks the text again.
        presence_penalty: Subtracted once from the logit of every token that the answer contains, as
            in the OpenAI API. Both penalties keep a small model from repeating itself.
        frequency_penalty: Subtracted for each time the token occurs. A high value removes commas.
        begun: The beginning of the answer, without a space at its end. The new text continues it
            and does not repeat it.
        unwanted: Phrases that must not be written again. Their usual tokens are banned. A model may
            spell a phrase with other tokens, so the caller checks the answer.
        background: Let requests without this go first, if the generator has a queue.
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
    """The new text, and the tokens of prompt and text."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Generator(Protocol):
    """Writes text from chat messages.

    `generate` and `check` raise ModelUnavailable, or Overloaded when the server reports that. Both
    end within the time limit of the generator.
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
        """Releases the resources of the generator."""
        ...


def turns(messages: Sequence[Message], *, begun: str) -> list[dict[str, str]]:
    """Returns chat turns in the form of chat templates, with the answer to be continued."""
    had = [Message("assistant", begun)] if begun else []
    return [{"role": turn.role, "content": turn.content} for turn in (*messages, *had)]
