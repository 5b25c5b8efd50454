"""The service on stores in memory: one generation for all who ask, limits, and draining."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import (
    EncoderUnavailable,
    MalformedGeneration,
    ModelUnavailable,
    Overloaded,
    ReclmError,
)
from tests.services.profiles.cache.processes import (
    ASKED,
    BABE,
    HEAT,
    NOT_A_PROFILE,
    U,
    World,
    key,
)

if TYPE_CHECKING:
    from services.profiles.domain.profile import ProfileKey
    from services.profiles.stores.base import Claim

pytestmark = pytest.mark.anyio


async def test_callers_of_one_process_share_it(world: World) -> None:
    process = world.process()
    process.model.free.clear()
    asked = [process.ask(ASKED) for _ in range(5)]
    await process.model.asked.get()
    process.model.free.set()
    assert {answer.status for answer in await asyncio.gather(*asked)} == {"generated"}
    assert process.model.calls == 1


async def test_processes_share_it(world: World) -> None:
    leader, follower = world.process(), world.process()
    following = await world.led(leader, follower, ASKED)
    leader.model.free.set()
    answer = await following
    assert answer.status == "cached"
    assert answer.stored.value == await world.store.get(U)
    assert follower.model.calls == 0


async def test_a_follower_of_a_refresh_takes_the_new_profile_alone(world: World) -> None:
    await world.put(U, request=ASKED, age_s=5)
    before = await world.store.get(U)
    leader, follower = world.process(), world.process()
    following = await world.led(leader, follower, replace(ASKED, refresh=True))
    leader.model.free.set()
    answer = await following
    assert answer.status == "cached"
    assert answer.stored.value != before
    assert follower.model.calls == 0


async def test_a_follower_with_another_history_leads_next(world: World) -> None:
    leader, follower = world.process(), world.process()
    leader.model.free.clear()
    leading = leader.ask(ASKED)
    await leader.model.asked.get()
    following = follower.ask(ProfileRequest(U, (BABE,)))
    await world.store.acquired.wait()
    leader.model.free.set()
    assert [(await leading).status, (await following).status] == ["generated"] * 2
    assert "Babe" in (await follower.model.asked.get()).messages[-1].content


async def test_a_result_that_came_before_the_lease_is_taken(world: World) -> None:
    process = world.process()
    acquire = world.store.acquire

    async def stored_first(asked: ProfileKey) -> Claim:
        """Has another process store the profile between the first look and the lease."""
        world.store.acquire = acquire  # type: ignore[method-assign]
        await world.put(U, request=ASKED)
        return await acquire(asked)

    world.store.acquire = stored_first  # type: ignore[method-assign]
    answer = await process.service.profile(ASKED)
    assert answer.status == "cached"
    assert process.model.calls == 0
    assert (await world.store.acquire(U)).lease is not None, "no lease is left behind"


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("too much"),
        ModelUnavailable("not there"),
        EncoderUnavailable("no encoder"),
    ],
    ids=lambda error: error.code,
)
async def test_the_leaders_failure_reaches_the_followers(error: ReclmError, world: World) -> None:
    leader, follower = world.process(), world.process()
    leader.model.script.append(error)
    following = await world.led(leader, follower, ASKED)
    leader.model.free.set()
    with pytest.raises(type(error), match="another process"):
        await following
    assert follower.model.calls == 0


async def test_a_model_that_writes_no_profile_reaches_the_followers(world: World) -> None:
    leader, follower = world.process(), world.process()
    leader.model.script.extend([NOT_A_PROFILE] * 3)
    following = await world.led(leader, follower, ASKED)
    leader.model.free.set()
    with pytest.raises(MalformedGeneration, match="another process"):
        await following


async def test_a_failure_without_a_type_here_is_one_of_the_model(world: World) -> None:
    lease = (await world.store.acquire(U)).lease
    assert lease is not None
    await world.store.give_up(lease, "a-code-of-a-later-release")
    with pytest.raises(ModelUnavailable, match="another process"):
        await world.process().service.profile(ASKED)


async def test_a_bug_of_the_leader_lets_the_next_try_at_once(world: World) -> None:
    leader, follower = world.process(), world.process()
    leader.model.script.append(ZeroDivisionError("a bug"))
    following = await world.led(leader, follower, ASKED)
    leader.model.free.set()
    assert (await following).status == "generated"
    assert follower.model.calls == 1


async def test_who_goes_away_leaves_the_generation_to_the_others(world: World) -> None:
    process = world.process()
    process.model.free.clear()
    first, second = process.ask(ASKED), process.ask(ASKED)
    await process.model.asked.get()
    first.cancel()
    process.model.free.set()
    assert (await second).status == "generated"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_more_than_may_wait_are_refused(world: World) -> None:
    process = world.process(max_waiting=4)
    process.model.free.clear()
    waiting = [process.ask(ProfileRequest(key(name), (HEAT,))) for name in "abcd"]
    await process.joined(4)
    with pytest.raises(Overloaded, match="4 profiles"):
        await process.service.profile(ASKED)
    # Who waits for one that is under way already is not one more.
    waiting.append(process.ask(ProfileRequest(key("a"), (HEAT,))))
    process.model.free.set()
    await asyncio.gather(*waiting)
    assert process.model.calls == 4


async def test_who_is_refused_gets_an_older_profile(world: World) -> None:
    await world.put(U)
    process = world.process(max_waiting=1)
    process.model.free.clear()
    process.ask(ProfileRequest(key("a"), (HEAT,)))
    await process.model.asked.get()
    assert (await process.service.profile(ASKED)).status == "stale"


async def test_the_background_has_three_quarters(world: World) -> None:
    process = world.process(max_concurrent=4, max_waiting=8)
    process.model.free.clear()
    waiting = [
        process.ask(ProfileRequest(key(f"b{n}"), (HEAT,), background=True)) for n in range(6)
    ]
    await process.joined(6)
    with pytest.raises(Overloaded):
        await process.service.profile(replace(ASKED, background=True))
    for _ in range(3):
        assert (await process.model.asked.get()).background
    waiting.append(process.ask(ASKED))
    assert not (await process.model.asked.get()).background
    assert process.model.calls == 4
    process.model.free.set()
    assert {one.status for one in await asyncio.gather(*waiting)} == {"generated"}


async def test_even_one_at_a_time_leaves_the_background_one(world: World) -> None:
    process = world.process(max_concurrent=1, max_waiting=1)
    answer = await process.service.profile(replace(ASKED, background=True))
    assert answer.status == "generated"


async def test_what_is_being_generated_is_finished(world: World) -> None:
    process = world.process()
    process.model.free.clear()
    asked = process.ask(ASKED)
    await process.model.asked.get()
    draining = asyncio.create_task(process.service.drain(60))
    process.model.free.set()
    await draining
    assert (await asked).status == "generated"


async def test_what_is_late_is_cancelled_and_its_lease_ended(world: World) -> None:
    process = world.process()
    process.model.free.clear()
    asked = process.ask(ASKED)
    await process.model.asked.get()
    await process.service.drain(0.01)
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (await world.store.acquire(U)).lease is not None


async def test_with_nothing_to_do_it_ends_at_once(world: World) -> None:
    await world.process().service.drain(60)
