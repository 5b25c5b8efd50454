"""What is done with answers that are not profiles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.profiles.domain.profile import Component, ProfileKey, ProfileVersion
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import MalformedGeneration
from services.profiles.generation.profile_generator import ATTEMPTS, ProfileGenerator
from services.profiles.generation.prompt_builder import PromptInput
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import count_messages, utf8_length
from services.profiles.generators.base import Generation, GenerationRequest
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

PART = Component("part", "hash")
INPUT = PromptInput("user", ("Heat (1995)",), None, bytes(16))
REQUEST = ProfileRequest(key=ProfileKey("default", "user", "u"), history=("1",))
REPEATING = (
    "User identity: film lover, night owl, city dweller; User interests: dark humour, Night Owl, "
    "dark humour."
)


class ScriptedGenerator:
    """Gives answers in order, the last one for ever."""

    def __init__(self, *answers: str, window: int = 100_000) -> None:
        self.answers = list(answers)
        self.window = window
        self.asked: list[GenerationRequest] = []

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Generation(text, 1, 1)

    async def context_window(self) -> int:
        return self.window

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


class OneVector:
    """Gives every text the same vector."""

    component = PART
    dimension = 2

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([0.6, 0.8], np.float32), (len(texts), 1))

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


def profiles(generator: ScriptedGenerator) -> ProfileGenerator:
    return ProfileGenerator(
        generator=generator,
        encoder=OneVector(),
        version=ProfileVersion(PART, None, PART, PART),
        prompt=CURRENT,
        count=utf8_length,
        examples=False,
        temperature=0.4,
        presence_penalty=0.8,
        frequency_penalty=0.4,
        metrics=Metrics(),
    )


async def test_only_what_is_missing_is_asked_for_again() -> None:
    generator = ScriptedGenerator(REPEATING, " long talks, old music.")
    profile = await profiles(generator).generate(REQUEST, INPUT)
    assert profile.words.interests == ("dark humour", "long talks", "old music")
    assert profile.words.identities == ("film lover", "night owl", "city dweller")

    first, second = generator.asked
    assert (first.begun, first.unwanted) == ("", ())
    assert second.begun == (
        "User identity: film lover, night owl, city dweller; User interests: dark humour,"
    )
    assert set(second.unwanted) == {"film lover", "night owl", "city dweller", "dark humour"}
    assert second.temperature > first.temperature


async def test_a_third_answer_completes_what_the_second_left_open() -> None:
    generator = ScriptedGenerator(REPEATING, " long talks, film lover.", " old music.")
    profile = await profiles(generator).generate(REQUEST, INPUT)
    assert profile.words.interests == ("dark humour", "long talks", "old music")
    assert generator.asked[2].begun.endswith("User interests: dark humour, long talks,")


async def test_the_last_answer_cannot_repeat_a_phrase() -> None:
    generator = ScriptedGenerator(REPEATING, " night owl, dark humour.")
    with pytest.raises(MalformedGeneration):
        await profiles(generator).generate(REQUEST, INPUT)
    free, last = (re.compile(asked.pattern) for asked in generator.asked[1:])
    assert free.fullmatch(" night owl, dark humour.")
    assert not last.fullmatch(" night owl, dark humour.")
    assert last.fullmatch(" some tea, pure tea.") or last.fullmatch(" pure tea, some tea.")


async def test_a_model_that_never_finds_a_new_phrase_is_given_up() -> None:
    generator = ScriptedGenerator(REPEATING, " night owl, dark humour.")
    with pytest.raises(MalformedGeneration, match=r"3\+1 different phrases"):
        await profiles(generator).generate(REQUEST, INPUT)
    assert len(generator.asked) == ATTEMPTS


async def test_an_answer_that_is_continued_fits_into_the_window_with_what_it_has() -> None:
    generator = ScriptedGenerator(REPEATING, " long talks, old music.")
    await profiles(generator).generate(REQUEST, INPUT)
    prompt = count_messages(generator.asked[0].messages, utf8_length)

    tight = ScriptedGenerator(REPEATING, " long talks, old music.", window=prompt + 150)
    await profiles(tight).generate(REQUEST, INPUT)
    for asked in tight.asked:
        assert prompt + len(asked.begun) + asked.max_tokens <= tight.window
    assert [asked.max_tokens for asked in generator.asked] == [tight.asked[0].max_tokens] * 2
