"""What a writer makes of answers that are no profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.profiles.budget import utf8_length
from services.profiles.errors import MalformedGeneration
from services.profiles.generators.base import Generation, GenerationRequest
from services.profiles.models import Component, ProfileKey, ProfileVersion
from services.profiles.reading import Reading
from services.profiles.requests import ProfileRequest
from services.profiles.telemetry import Metrics
from services.profiles.writing import ATTEMPTS, Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

PART = Component("part", "hash")
READING = Reading("user", ("Heat (1995)",), None, (), bytes(16))
REQUEST = ProfileRequest(key=ProfileKey("default", "user", "u"), history=("1",))
REPEATING = (
    "User identity: film lover, night owl, city dweller; User interests: dark humour, Night Owl, "
    "dark humour."
)


class ScriptedGenerator:
    """Gives answers in order, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[GenerationRequest] = []

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Generation(text, 1, 1)

    async def context_window(self) -> int:
        return 100_000

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


def writer(generator: ScriptedGenerator) -> Writer:
    return Writer(
        generator=generator,
        encoder=OneVector(),
        version=ProfileVersion(PART, None, PART, PART),
        count=utf8_length,
        examples=False,
        temperature=0.4,
        presence_penalty=0.8,
        frequency_penalty=0.4,
        metrics=Metrics(),
    )


async def test_only_what_is_missing_is_asked_for_again() -> None:
    generator = ScriptedGenerator(REPEATING, " long talks, old music.")
    profile = await writer(generator).write(REQUEST, READING)
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
    profile = await writer(generator).write(REQUEST, READING)
    assert profile.words.interests == ("dark humour", "long talks", "old music")
    assert generator.asked[2].begun.endswith("User interests: dark humour, long talks,")


async def test_a_model_that_never_finds_a_new_phrase_is_given_up() -> None:
    generator = ScriptedGenerator(REPEATING, " night owl, dark humour.")
    with pytest.raises(MalformedGeneration, match=r"3\+1 different phrases"):
        await writer(generator).write(REQUEST, READING)
    assert len(generator.asked) == ATTEMPTS
