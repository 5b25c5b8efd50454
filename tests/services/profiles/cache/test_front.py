"""Requests on their way to the store: a few at a time, and no more than can be read in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.cache.front import Front
from services.profiles.errors import Overloaded
from tests.services.profiles.cache.processes import ASKED, HEAT, World, key

if TYPE_CHECKING:
    from services.profiles.cache.front import Front as _Front

pytestmark = pytest.mark.anyio


async def test_they_get_through_in_order_and_the_time_for_each_is_measured() -> None:
    now = 0.0
    front = Front(slots=2, clock=lambda: now)
    ends = [asyncio.Event() for _ in range(200)]
    begun: list[int] = []

    async def go(number: int) -> None:
        async with front:
            begun.append(number)
            await ends[number].wait()

    tasks = [asyncio.create_task(go(number)) for number in range(200)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert begun == [0, 1]
    for end in ends[:150]:
        now += 0.1
        end.set()
        for _ in range(5):
            await asyncio.sleep(0)
    assert begun == list(range(152))
    assert front.expected_s() == pytest.approx(48 * 0.1, rel=0.05)
    for end in ends:
        end.set()
    await asyncio.gather(*tasks)
    assert front.expected_s() == 0


async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    front = Front(slots=1)
    async with front:
        waiting = [asyncio.create_task(_through(front)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*waiting[1:])
    assert front.expected_s() == 0


async def _through(front: _Front) -> None:
    async with front:
        pass


async def test_who_could_not_be_read_in_time_is_told_at_once(world: World) -> None:
    process = world.process()
    process.service._front._each_s = 0.1
    world.store.free.clear()
    waiting = [process.ask(replace(ASKED, key=key(f"{n}"), history=(HEAT,))) for n in range(64)]
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="read in their time") as raised:
        await process.service.profile(replace(ASKED, deadline_s=3.0))
    assert raised.value.retry_after == pytest.approx(3.2, abs=0.1)
    world.store.free.set()
    await asyncio.gather(*waiting, return_exceptions=True)
