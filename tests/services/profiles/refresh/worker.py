"""The parts of one worker that refreshes, with a model that fails when told."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.profiles.domain.profile import Item, ProfileKey
from services.profiles.errors import ModelUnavailable, StoreUnavailable
from services.profiles.stores.base import Event
from services.profiles.stores.redis import keys
from services.profiles.stores.redis.profiles import RedisProfiles
from tests.services.profiles.test_background import HeldGenerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.profiles.cache.service import ProfileService
    from services.profiles.domain.profile import ProfileVersion
    from services.profiles.generators.base import Generation, GenerationRequest
    from services.profiles.refresh.recorder import Recorder
    from services.profiles.refresh.worker import Refresher
    from services.profiles.stores.base import CommitOutcome, Lease
    from services.profiles.stores.redis.client import RedisClient
    from services.profiles.stores.redis.interactions import RedisInteractions
    from services.profiles.stores.redis.refreshes import RedisRefreshes
    from services.profiles.telemetry import Metrics

LEASE_S = 0.4
FILMS = [Item("heat", "Heat (1995)", "Crime"), Item("babe", "Babe (1995)", "Comedy")]


class Generator(HeldGenerator):
    """Fails as often as it is told, and then knows one profile."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.let.set()

    async def generate(self, request: GenerationRequest) -> Generation:
        generation = await super().generate(request)
        if self.failures:
            self.failures -= 1
            raise ModelUnavailable("the model is not there")
        return generation


class LosingProfiles(RedisProfiles):
    """Cannot store as often as it is told."""

    losses = 0

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> CommitOutcome:
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable("no answer")
        return await super().commit(lease, value, ttl_s=ttl_s, version=version)


@dataclass
class Worker:
    """The parts of one worker of the service, all in one tenant of the real Redis."""

    tenant: str
    client: RedisClient
    generator: Generator
    store: LosingProfiles
    interactions: RedisInteractions
    refreshes: RedisRefreshes
    profiles: ProfileService
    recorder: Recorder
    refresher: Refresher
    metrics: Metrics

    def key(self, user: str) -> ProfileKey:
        return ProfileKey(self.tenant, "user", user)

    async def did(self, user: str, *items: str, at: int = 1_000) -> None:
        await self.recorder.record([Event(user, item, at + n) for n, item in enumerate(items)])

    def counted(self, outcome: str) -> int:
        return int(
            self.metrics.registry.get_sample_value("reclm_refreshes_total", {"outcome": outcome})
            or 0
        )

    async def idle(self) -> bool:
        return (await self.refreshes.take(self.tenant, "observer", most=0, holding=())).waiting == 0

    async def letters(self) -> list[Any]:
        found = await self.client.call("XRANGE", keys.refresh_dead(self.tenant), "-", "+")
        return [letter for _, letter in found]


async def eventually(probe: Callable[[], Any]) -> Any:
    """Returns the first truthy answer; the limit only ends a test that hangs.

    It looks at the clock itself: redis-py may lose the cancellation by which a timeout ends.
    """
    until = time.monotonic() + 10
    while time.monotonic() < until:
        answer = probe()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError("not within 10 s")


def single_flight(worker: Worker) -> list[asyncio.Task[Any]]:
    """Returns what a worker is writing for requests."""
    return list(worker.profiles._demand._single_flight._tasks.values())
