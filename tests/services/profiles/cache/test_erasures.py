"""Whatever comes between, who was erased stays erased: a thousand orders of events for each way back.

The order is decided by a seeded scheduler: before and after every call of a store, and wherever the
service would wait for time to pass, a task steps aside as often as a random number says. The loop
runs tasks in the order in which they are ready, so a seed is one order of events, every time.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reclm_client.schemas.score import ScoreRequest
from services.profiles.cache import production
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import NothingToRead, ProfileErased
from services.profiles.scoring.phrases import Phrases
from services.profiles.scoring.service import ScoringService
from services.profiles.scoring.values import Question, Ranking
from services.profiles.stores import codec
from services.profiles.stores.base import Event
from tests.services.profiles.cache.processes import BABE, HEAT, TENANT, U, World, key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.services.profiles.cache.processes import Process

pytestmark = pytest.mark.anyio

SEEDS = range(1_000)
HISTORY = (HEAT,)


class Steps:
    """Lets tasks step aside at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def __call__(self) -> None:
        for _ in range(self._random.choice((0, 0, 1, 1, 2, 3, 5, 8))):
            await asyncio.sleep(0)

    async def any_of(self, most: int) -> None:
        """Steps aside less than `most` times."""
        for _ in range(self._random.randrange(most)):
            await asyncio.sleep(0)

    def around(self, store: object, *calls: str) -> None:
        """Has tasks step aside before and after calls of a store."""
        for name in calls:
            setattr(store, name, self._stepping(getattr(store, name)))

    def _stepping(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepping(*args: Any, **options: Any) -> Any:
            await self()
            try:
                return await call(*args, **options)
            finally:
                await self()

        return stepping


class Arena(World):
    """Stores whose calls are scheduled by a seed, and the moment at which a request has begun."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.steps = Steps(seed)
        self.begun = asyncio.Event()
        monkeypatch.setattr(production, "_pause", self.steps)
        get = self.store.get

        async def first_read(asked: Any) -> bytes | None:
            value = await get(asked)
            if asked == U:
                self.begun.set()
            return value

        self.store.get = first_read  # type: ignore[method-assign]
        self.steps.around(self.store, "get", "acquire", "peek", "commit", "give_up")
        self.steps.around(self.stores.interactions, "history", "append")

    def process(self, **options: Any) -> Process:
        process = super().process(**options)
        self.steps.around(process.model, "generate")
        self.steps.around(process.encoder, "encode")
        return process

    async def erased_after(self, *requests: Awaitable[object]) -> None:
        """Erases the user at some moment after all requests have begun, and lets them end."""
        tasks = [asyncio.ensure_future(request) for request in requests]
        await self.begun.wait()
        await self.steps.any_of(80)
        await self.stores.erase(U)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for process in self.processes:
            await process.service.drain(10)
        wrong = [
            one
            for one in outcomes
            if isinstance(one, BaseException) and not isinstance(one, ProfileErased | NothingToRead)
        ]
        assert not wrong
        assert codec.look(await self.store.get(U)) is None, "a profile came back"
        assert await self.stores.interactions.history(TENANT, "u", limit=9) == []

    async def comes_back(self, process: Process) -> None:
        """Has the user come back: a request of after the erasure makes a profile that stays."""
        answer = await process.service.profile(ProfileRequest(U, (BABE,)))
        assert answer.status == "generated"
        assert codec.look(await self.store.get(U)) is not None


async def begun(arena: Arena, process: Process, request: ProfileRequest) -> Any:
    """Has a request read what is stored, and returns the rest of it."""
    arena.begun.clear()
    task = process.ask(request)
    await arena.begun.wait()
    return task


@pytest.mark.parametrize("block", range(10))
async def test_a_second_worker_that_follows(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in SEEDS[block::10]:
        arena = Arena(seed, monkeypatch)
        one, two = arena.process(), arena.process()
        request = ProfileRequest(U, HISTORY)
        tasks = [await begun(arena, process, request) for process in (one, two)]
        await arena.erased_after(*tasks)
        await arena.comes_back(two)


@pytest.mark.parametrize("block", range(10))
async def test_two_histories_of_one_user(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in SEEDS[block::10]:
        arena = Arena(seed, monkeypatch)
        process = arena.process(max_concurrent=2)
        requests = [ProfileRequest(U, (HEAT,)), ProfileRequest(U, (BABE,))]
        tasks = [await begun(arena, process, request) for request in requests]
        await arena.erased_after(*tasks)
        await arena.comes_back(process)


@pytest.mark.parametrize("block", range(10))
async def test_a_row_in_the_background_that_waits(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in SEEDS[block::10]:
        arena = Arena(seed, monkeypatch)
        process = arena.process(max_concurrent=1)
        ahead = process.ask(ProfileRequest(key("v"), HISTORY, background=True))
        waiting = await begun(arena, process, ProfileRequest(U, HISTORY, background=True))
        await arena.erased_after(waiting, ahead)
        await arena.comes_back(process)


class Nothing:
    """A scorer that reads profiles, and ranks nothing."""

    name = "nothing"
    reads_profiles = True
    bundle = SimpleNamespace(
        content="0" * 32,
        item_rows={},
        user_rows={},
        manifest=SimpleNamespace(name="nothing", profile_dimension=1, erasures_as_of=None),
    )

    def quick(self, _: Question) -> bool:
        return True

    def rank(self, _: Question) -> Ranking:
        return Ranking("nothing", [])


def scoring(arena: Arena, process: Process) -> ScoringService:
    """Returns scoring whose ranking says nothing."""
    scorer = Nothing()
    return ScoringService(
        registry=SimpleNamespace(current=lambda: scorer),  # type: ignore[arg-type]
        profiles=process.service,
        interactions=arena.stores.interactions,
        erasures=arena.stores.erasures,
        phrases=Phrases(process.encoder),
        tenant=TENANT,
        max_history=10,
        anonymous_ttl_s=60,
        threads=1,
        max_waiting=10,
        changes=process.changes,
        metrics=process.metrics,
    )


@pytest.mark.parametrize("block", range(10))
async def test_a_score_of_interactions_that_were_recorded(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in SEEDS[block::10]:
        arena = Arena(seed, monkeypatch)
        await arena.stores.catalogue.put_items(TENANT, [HEAT, BABE])
        await arena.did("heat")
        process = arena.process()
        service = scoring(arena, process)
        await arena.erased_after(service.score(ScoreRequest("u", reasons=False)))
        await service.aclose()
        await arena.comes_back(process)


async def test_a_refresh_and_events_that_were_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in SEEDS:
        arena = Arena(seed, monkeypatch)
        await arena.stores.catalogue.put_items(TENANT, [HEAT, BABE])
        await arena.did("heat")
        process = arena.process()
        _, epoch = await process.service.known(U)
        request = ProfileRequest(U, background=True, stored=True, fallback=False, epoch=epoch)
        history = tuple(await arena.stores.interactions.history(TENANT, "u", limit=9))
        late = [Event("u", "babe", 2**41)]
        await arena.erased_after(
            process.service.profile(replace(request, history=history)),
            arena.stores.interactions.append(TENANT, late, epochs={"u": epoch}),
        )
