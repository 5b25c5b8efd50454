"""Requests in the background let all others go first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.cache.catalogue_changes import CatalogueChanges
from services.profiles.cache.service import ProfileService
from services.profiles.cache.versions import Versions
from services.profiles.domain.profile import Component, Item, ProfileKey, ProfileVersion
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import Overloaded
from services.profiles.generation.profile_generator import ProfileGenerator
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import utf8_length
from services.profiles.generators.base import Generation, GenerationRequest
from services.profiles.settings import Settings
from services.profiles.stores.memory.stores import open_memory_stores
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.profiles.cache.answer import ProfileAnswer

pytestmark = pytest.mark.anyio

PROFILE = (
    "User identity: film lover, night owl, city dweller; "
    "User interests: dark humour, long talks, old music."
)
PART = Component("part", "hash")
VERSION = ProfileVersion(PART, None, PART, PART)


class HeldGenerator:
    """Knows one profile, and gives it when it is let."""

    def __init__(self) -> None:
        self.asked: list[GenerationRequest] = []
        self.let = asyncio.Event()

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        await self.let.wait()
        return Generation(PROFILE, 1, 1)

    async def context_window(self) -> int:
        return 100_000

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


class OneVector:
    """Gives every text the same vector."""

    component = PART

    async def encode(self, texts: Sequence[str]) -> Any:
        return np.ones((len(texts), 1), np.float32)

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


@pytest.fixture
async def generator() -> HeldGenerator:
    return HeldGenerator()


@pytest.fixture
async def service(generator: HeldGenerator) -> AsyncIterator[ProfileService]:
    metrics = Metrics()
    stores = open_memory_stores(Settings())
    service = ProfileService(
        stores=stores,
        history_limit=100,
        prompts=PromptBuilder(
            catalogue=stores.catalogue, tenant="t", count=utf8_length, history_tokens=500
        ),
        generator=ProfileGenerator(
            generator=generator,
            encoder=OneVector(),
            version=VERSION,
            prompt=CURRENT,
            count=utf8_length,
            examples=False,
            temperature=0.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            metrics=metrics,
        ),
        versions=Versions(store=stores.profiles, tenant="t", own=VERSION),
        changes=CatalogueChanges(catalogue=stores.catalogue, tenant="t", poll_s=1),
        stale_max_age_s=60,
        ttl_s=60,
        lease_s=4,
        generation_timeout_s=60,
        max_concurrent=4,
        max_waiting=16,
        metrics=metrics,
    )
    yield service
    generator.let.set()
    await service.drain(10)


def request(id_: str, *, background: bool) -> ProfileRequest:
    history = (Item("", "Heat (1995)", "Crime"),)
    return ProfileRequest(ProfileKey("t", "user", id_), history, background=background)


def begin(service: ProfileService, id_: str, *, background: bool) -> asyncio.Task[ProfileAnswer]:
    return asyncio.create_task(service.profile(request(id_, background=background)))


async def settled() -> None:
    """Lets everything go on that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_background_leaves_a_place_at_the_model(
    service: ProfileService, generator: HeldGenerator
) -> None:
    waiting = [begin(service, f"b{number}", background=True) for number in range(8)]
    await settled()
    assert len(generator.asked) == 3

    waiting.append(begin(service, "somebody", background=False))
    await settled()
    assert [asked.background for asked in generator.asked] == [True, True, True, False]

    generator.let.set()
    answers = await asyncio.gather(*waiting)
    assert {answer.status for answer in answers} == {"generated"}


async def test_who_is_waited_for_in_the_background_can_be_asked_for_at_once(
    service: ProfileService, generator: HeldGenerator
) -> None:
    waiting = [begin(service, f"b{number}", background=True) for number in range(8)]
    await settled()
    waiting.append(begin(service, "b7", background=False))
    await settled()
    assert [asked.background for asked in generator.asked] == [True, True, True, False]

    generator.let.set()
    statuses = [answer.status for answer in await asyncio.gather(*waiting)]
    assert sorted(statuses) == ["cached", *["generated"] * 8]
    assert len(generator.asked) == 8 + 2, "two were put off for somebody, and ran again"


async def test_the_background_is_refused_first(
    service: ProfileService, generator: HeldGenerator
) -> None:
    waiting = [begin(service, f"b{number}", background=True) for number in range(12)]
    await settled()
    with pytest.raises(Overloaded):
        await service.profile(request("one more", background=True))
    waiting += [begin(service, f"f{number}", background=False) for number in range(4)]
    await settled()
    with pytest.raises(Overloaded):
        await service.profile(request("one more", background=False))
    generator.let.set()
    await asyncio.gather(*waiting)
