"""Processes that share stores in memory, with a model and an encoder that do as a test says."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from services.profiles.cache.catalogue_changes import CatalogueChanges
from services.profiles.cache.service import ProfileService
from services.profiles.cache.versions import Versions
from services.profiles.domain.profile import (
    Component,
    Item,
    Profile,
    ProfileKey,
    ProfileText,
    ProfileVersion,
)
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import EncoderUnavailable, StoreUnavailable
from services.profiles.generation.profile_generator import ProfileGenerator
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import utf8_length
from services.profiles.generators.base import Generation, GenerationRequest
from services.profiles.settings import Settings
from services.profiles.stores import codec
from services.profiles.stores.base import Event
from services.profiles.stores.memory.interactions import MemoryInteractions
from services.profiles.stores.memory.profiles import MemoryProfiles
from services.profiles.stores.memory.stores import open_memory_stores
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.cache.answer import ProfileAnswer
    from services.profiles.domain.profile import Kind
    from services.profiles.stores.base import CommitOutcome
    from services.profiles.stores.memory.stores import MemoryStores

TENANT = "t"
HEAT, BABE = Item("heat", "Heat (1995)", "Crime"), Item("babe", "Babe (1995)", "Comedy")
USER = (
    "User identity: film lover, night owl, city dweller; "
    "User interests: dark humour, long talks, old music."
)
ITEM = (
    "Item identity: crime fan, night owl, city dweller, film lover, old friend; "
    "Item interests: dark humour, long talks, old music, fast cars, good food."
)
NOT_A_PROFILE = "I would rather not."
WORDS = ProfileText("user", ("a b", "c d", "e f"), ("g h", "i j", "k l"))


def version(name: str = "now") -> ProfileVersion:
    part = Component("part", "hash")
    return ProfileVersion(Component(name, "hash"), None, part, part)


U = ProfileKey(TENANT, "user", "u")
ASKED = ProfileRequest(U, (HEAT,))
OLD = version("before")


def key(id_: str, kind: Kind = "user") -> ProfileKey:
    return ProfileKey(TENANT, kind, id_)


class Model:
    """Writes what is in the script, then good profiles; waits while it is held.

    Attributes:
        script: Answers, and errors to raise.
        asked: The requests, to be waited for.
        free: Cleared, all answers wait until it is set.
        calls: How often it was asked.
    """

    def __init__(self) -> None:
        self.script: deque[str | BaseException] = deque()
        self.asked: asyncio.Queue[GenerationRequest] = asyncio.Queue()
        self.free = asyncio.Event()
        self.free.set()
        self.calls = 0

    async def generate(self, request: GenerationRequest) -> Generation:
        self.calls += 1
        self.asked.put_nowait(request)
        await self.free.wait()
        answer = self.script.popleft() if self.script else None
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            answer = ITEM if "Item identity" in request.messages[0].content else USER
        return Generation(answer, 1, 1)

    async def context_window(self) -> int:
        return 100_000

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


class Encoder:
    """Gives every text the same vector; waits while it is held, and fails when told."""

    component = Component("part", "hash")

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.broken = False
        self.asked: asyncio.Queue[Sequence[str]] = asyncio.Queue()

    async def encode(self, texts: Sequence[str]) -> Any:
        self.asked.put_nowait(texts)
        await self.free.wait()
        if self.broken:
            raise EncoderUnavailable("no encoder")
        return np.ones((len(texts), 1), np.float32)

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


class Profiles(MemoryProfiles):
    """Refuses the calls named in `down`, and has reads wait while it is held."""

    def __init__(self, *, lease_s: float) -> None:
        super().__init__(lease_s=lease_s)
        self.down: set[str] = set()
        self.free = asyncio.Event()
        self.free.set()
        self.acquired = asyncio.Event()

    def _refuse(self, call: str) -> None:
        if call in self.down:
            raise StoreUnavailable("no answer")

    async def get(self, key: ProfileKey) -> bytes | None:
        await self.free.wait()
        return await super().get(key)

    async def acquire(self, key: ProfileKey) -> Any:
        self._refuse("acquire")
        claim = await super().acquire(key)
        if claim.lease is None:
            self.acquired.set()
        return claim

    async def announce(self, *args: Any, **options: Any) -> dict[bytes, int]:
        self._refuse("announce")
        return await super().announce(*args, **options)

    def expire(self, key: ProfileKey) -> None:
        """Ends a lease, as time does."""
        del self._leases[key]

    def forget_versions(self) -> None:
        """Loses the documents of versions."""
        self._versions.clear()

    def order(self, tenant: str) -> dict[bytes, int]:
        """Returns the versions that were announced."""
        return self._order.get(tenant, {})

    async def peek(self, key: ProfileKey) -> Any:
        self._refuse("acquire")
        claim = await super().peek(key)
        if claim.held:
            self.acquired.set()
        return claim

    async def commit(self, *args: Any, **options: Any) -> CommitOutcome:
        self._refuse("commit")
        return await super().commit(*args, **options)

    async def give_up(self, *args: Any) -> None:
        self._refuse("give_up")
        await super().give_up(*args)


class World:
    """The stores, and the processes that were made over them."""

    def __init__(self) -> None:
        self.store = Profiles(lease_s=30)
        opened = open_memory_stores(Settings(max_interactions=10))
        self.stores: MemoryStores = type(opened)(
            profiles=self.store,
            catalogue=opened.catalogue,
            interactions=MemoryInteractions(
                profiles=self.store, erasures=opened.erasures, cap=10, ttl_s=600
            ),
            refreshes=opened.refreshes,
            scorers=opened.scorers,
            erasures=opened.erasures,
            presence=opened.presence,
            erasure_ttl_s=opened.erasure_ttl_s,
        )
        self.processes: list[Process] = []

    def process(self, **options: Any) -> Process:
        process = Process(self.stores, **options)
        self.processes.append(process)
        return process

    async def did(self, *items: str, at: int = 1) -> None:
        """Records that the user `u` chose items."""
        events = [Event("u", item, at + number) for number, item in enumerate(items)]
        await self.stores.interactions.append(TENANT, events)

    async def led(
        self, leader: Process, follower: Process, request: ProfileRequest
    ) -> asyncio.Task[ProfileAnswer]:
        """Has one process generate, held at its model, and another wait for the result."""
        leader.model.free.clear()
        leading = leader.ask(request)
        leading.add_done_callback(lambda done: done.exception())  # looked at or not
        await leader.model.asked.get()
        following = follower.ask(request)
        await self.store.acquired.wait()
        return following

    async def put(
        self,
        key: ProfileKey,
        *,
        request: ProfileRequest | None = None,
        made_with: ProfileVersion | None = None,
        age_s: float = 0.0,
    ) -> None:
        """Stores a profile as if it had been generated for a request some time ago."""
        made_with = made_with or version()
        lease = (await self.stores.profiles.acquire(key)).lease
        assert lease is not None
        profile = Profile(
            id=key.id,
            words=WORDS,
            vector=np.ones(1, np.float16),
            version_digest=made_with.digest(),
            input_hash=bytes(16),
            request_digest=(request or ProfileRequest(key)).digest(),
            created_ms=int((time.time() - age_s) * 1000),
        )
        value = codec.encode(profile)
        outcome = await self.stores.profiles.commit(lease, value, ttl_s=600, version=made_with)
        assert outcome == "stored"


class Process:
    """One process of the service: a `ProfileService` with a model of its own."""

    def __init__(
        self,
        stores: MemoryStores,
        *,
        made_with: ProfileVersion | None = None,
        max_concurrent: int = 4,
        max_waiting: int = 8,
        generation_timeout_s: float = 60,
        lease_s: float = 30,
        stale_max_age_s: float = 3600,
    ) -> None:
        made_with = made_with or version()
        self.model, self.encoder, self.metrics = Model(), Encoder(), Metrics()
        self.changes = CatalogueChanges(catalogue=stores.catalogue, tenant=TENANT, poll_s=0.05)
        self.service = ProfileService(
            stores=stores,
            history_limit=10,
            prompts=PromptBuilder(
                catalogue=stores.catalogue,
                tenant=TENANT,
                count=utf8_length,
                history_tokens=500,
                stamp=lambda: self.changes.stamp,
            ),
            generator=ProfileGenerator(
                generator=self.model,
                encoder=self.encoder,
                version=made_with,
                prompt=CURRENT,
                count=utf8_length,
                examples=False,
                temperature=0.0,
                presence_penalty=0.0,
                frequency_penalty=0.0,
                metrics=self.metrics,
            ),
            versions=Versions(store=stores.profiles, tenant=TENANT, own=made_with),
            changes=self.changes,
            stale_max_age_s=stale_max_age_s,
            ttl_s=600,
            lease_s=lease_s,
            generation_timeout_s=generation_timeout_s,
            max_concurrent=max_concurrent,
            max_waiting=max_waiting,
            metrics=self.metrics,
        )

    def ask(self, request: ProfileRequest) -> asyncio.Task[ProfileAnswer]:
        return asyncio.create_task(self.service.profile(request))

    async def joined(self, count: int) -> None:
        """Waits until so many generations are under way or wait for their turn."""
        tasks = self.service._demand._single_flight._tasks
        async with asyncio.timeout(10):
            while len(tasks) < count:  # noqa: ASYNC110 - the service has no event for this
                await asyncio.sleep(0)

    def counted(self, status: str, kind: Kind = "user") -> float:
        labels = {"kind": kind, "status": status}
        return self.metrics.registry.get_sample_value("reclm_profiles_total", labels) or 0.0

    def outcomes(self, outcome: str) -> float:
        """Returns how many commits had an outcome."""
        labels = {"outcome": outcome}
        return self.metrics.registry.get_sample_value("reclm_commits_total", labels) or 0.0
