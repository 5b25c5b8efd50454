"""Generates profiles: asks the model, checks its answer, and encodes the text."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from services.profiles.domain.profile import Profile, ProfileText
from services.profiles.errors import InvalidInput, MalformedGeneration
from services.profiles.generation.category_vectors import CategoryVectors
from services.profiles.generation.grammar import NotAProfile
from services.profiles.generation.prompt_builder import degraded_text
from services.profiles.generation.token_budget import count_messages, newest_that_fit
from services.profiles.generators.base import GenerationRequest
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from services.profiles.breaker import Breaker
    from services.profiles.domain.profile import Kind, Message, ProfileVersion
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.encoders.base import Encoder
    from services.profiles.generation.prompt_builder import Material, PromptInput
    from services.profiles.generation.prompts.base import PromptVersion
    from services.profiles.generation.token_budget import TokenCounter
    from services.profiles.generators.base import Generator
    from services.profiles.telemetry import Metrics

ATTEMPTS = 3
"""How often the model is asked for one profile. Each retry asks for the missing phrases alone, and
the last one for phrases that cannot be equal to each other or to those that are there."""

_MAX_TOKENS: dict[Kind, int] = {"user": 128, "item": 224}
_HOTTER = 0.2
"""What each retry adds to the temperature and to both penalties."""


class ProfileGenerator:
    """Generates profiles with a model, and encodes them.

    Args:
        generator: The model.
        version: What all profiles are labelled with; its `prompt` is that of `prompt`.
        prompt: The version of the prompt: its chats and the form of its answers.
        count: The model's token counter.
        examples: Show worked examples, for a model without an adapter.
        circuits: Those that stand before model and encoder.
    """

    def __init__(
        self,
        *,
        generator: Generator,
        encoder: Encoder,
        version: ProfileVersion,
        prompt: PromptVersion,
        count: TokenCounter,
        examples: bool,
        temperature: float,
        presence_penalty: float,
        frequency_penalty: float,
        metrics: Metrics,
        circuits: Sequence[Breaker] = (),
    ) -> None:
        self._generator = generator
        self._encoder = encoder
        self._categories = CategoryVectors(encoder)
        self._circuits = circuits
        self._version = version.digest()
        self._prompt = prompt
        self._count = count
        self._examples = examples
        self._temperature = temperature
        self._presence_penalty = presence_penalty
        self._frequency_penalty = frequency_penalty
        self._metrics = metrics

    async def generate(self, request: ProfileRequest, prompt_input: PromptInput) -> Profile:
        """Has the model write a profile, and finishes it. Raises what `write` and `finish` raise."""
        return await self.finish(request, prompt_input, await self.write(request, prompt_input))

    async def write(self, request: ProfileRequest, prompt_input: PromptInput) -> ProfileText:
        """Has the model write a profile's text.

        Raises:
            ModelUnavailable, Overloaded: As the generator does.
            InvalidInput: The prompt does not fit into the model's context window.
            MalformedGeneration: No answer was a profile.
        """
        messages = await self._messages(prompt_input)
        room = await self._generator.context_window() - count_messages(messages, self._count)
        background = request.background
        wrong = NotAProfile("it was not asked")
        for attempt in range(ATTEMPTS):
            text = await self._ask(
                prompt_input.kind, messages, attempt, wrong, room=room, background=background
            )
            try:
                words = self._prompt.grammar.parse(prompt_input.kind, text, earlier=wrong)
            except NotAProfile as error:
                wrong = error
                self._metrics.model_malformed.inc()
                LOGGER.info(
                    "the model's answer is not a profile", extra={"data": {"why": str(error)}}
                )
            else:
                return words
        raise MalformedGeneration(
            f"the model was asked {ATTEMPTS} times and did not write a profile ({wrong})"
        ) from wrong

    def refuse(self) -> None:
        """Raises what `generate` would raise at once, without asking anybody.

        Raises:
            ModelUnavailable, EncoderUnavailable: A circuit is open.
        """
        for circuit in self._circuits:
            circuit.refuse()

    async def finish(
        self, request: ProfileRequest, prompt_input: PromptInput, words: ProfileText
    ) -> Profile:
        """Encodes a profile's text, and adds what it was made from.

        Raises:
            EncoderUnavailable: As the encoder does.
        """
        (vector,) = await self._encoder.encode([words.text])
        return self._profile(request, words, vector, prompt_input)

    async def degraded(self, request: ProfileRequest, material: Material) -> Profile:
        """Returns a profile that nobody wrote: from categories, with a vector from theirs.

        Its `input_hash` is zero, since no model has read anything.

        Raises:
            EncoderUnavailable: As `CategoryVectors` does.
        """
        kind = request.key.kind
        vector = await self._categories.vector(kind, material.categories)
        return self._profile(request, degraded_text(kind, material.categories), vector, None)

    def _profile(
        self,
        request: ProfileRequest,
        words: ProfileText,
        vector: NDArray[np.float32],
        read: PromptInput | None,
    ) -> Profile:
        return Profile(
            id=request.key.id,
            words=words,
            vector=vector.astype(np.float16),
            version_digest=self._version,
            input_hash=bytes(16) if read is None else read.hash,
            request_digest=request.digest(),
            created_ms=time.time_ns() // 1_000_000,
            stamp=0 if read is None else read.stamp,
            marks=b"" if read is None else read.marks,
        )

    async def _messages(self, prompt_input: PromptInput) -> list[Message]:
        """Returns a prompt that leaves room for the answer in the model's context window."""
        window = await self._generator.context_window()
        messages = prompt_input.messages(self._prompt, examples=self._examples)
        over = count_messages(messages, self._count) + _MAX_TOKENS[prompt_input.kind] - window
        if over <= 0:
            return messages
        history = sum(self._count(f"- {line}\n") + 1 for line in prompt_input.lines)
        if history <= over:
            raise InvalidInput(
                f"the prompt does not fit into the model's context window of {window} tokens"
            )
        lines = tuple(newest_that_fit(prompt_input.lines, history - over, self._count))
        return replace(prompt_input, lines=lines).messages(self._prompt, examples=self._examples)

    async def _ask(
        self,
        kind: Kind,
        messages: list[Message],
        attempt: int,
        had: NotAProfile,
        *,
        room: int,
        background: bool,
    ) -> str:
        """Returns an answer: the phrases of earlier tries, and what the model adds to them.

        Args:
            kind: Whose profile it is.
            messages: The prompt.
            attempt: 0 for the first try.
            had: What the earlier tries wrote.
            room: Tokens that the whole answer may have.
            background: Let other requests go first.
        """
        last = attempt == ATTEMPTS - 1
        begun, pattern = self._prompt.grammar.rest(kind, had, apart=last)
        started = time.perf_counter()
        generation = await self._generator.generate(
            GenerationRequest(
                messages=messages,
                begun=begun,
                pattern=pattern,
                unwanted=() if last else (*had.identities, *had.interests),
                max_tokens=max(1, min(_MAX_TOKENS[kind], room - self._count(begun))),
                temperature=min(2.0, self._temperature + _HOTTER * attempt),
                presence_penalty=min(2.0, self._presence_penalty + _HOTTER * attempt),
                frequency_penalty=min(2.0, self._frequency_penalty + _HOTTER * attempt),
                background=background,
            )
        )
        self._metrics.model_seconds.observe(time.perf_counter() - started)
        self._metrics.model_tokens.labels("prompt").inc(generation.prompt_tokens)
        self._metrics.model_tokens.labels("completion").inc(generation.completion_tokens)
        return begun + generation.text
