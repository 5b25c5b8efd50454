"""Who is admitted to the model, who is told at once, and what becomes of what nobody waits for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.breaker import Breaker
from services.profiles.cache.promises import Promises
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import (
    CallerGone,
    InvalidInput,
    ModelRefused,
    ModelUnavailable,
    Overloaded,
)
from tests.services.profiles.cache.processes import ASKED, HEAT, OLD, U, World, key

if TYPE_CHECKING:
    from services.profiles.errors import ReclmError
    from tests.services.profiles.cache.processes import Process

pytestmark = pytest.mark.anyio


def slow(process: Process, seconds: float, *, each: float = 0.0) -> None:
    """Has a process know that its model takes so long, and so much longer for each prompt more."""
    times = process.service._queue._times
    for _ in range(50):
        for prompts in (1, 2, 4, 8):
            times.observe(prompts, seconds + each * prompts)


def request(name: str, **options: object) -> ProfileRequest:
    return ProfileRequest(key(name), (HEAT,), **options)  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_cannot_be_in_time_is_answered_at_once_and_made_behind_the_answer(
    world: World,
) -> None:
    process = world.process()
    slow(process, 5.0)
    process.model.free.clear()
    async with asyncio.timeout(10):
        answer = await process.service.profile(request("a", deadline_s=4.0))
    assert answer.status == "degraded"
    assert (await process.model.asked.get()).background is False
    process.model.free.set()
    async with asyncio.timeout(10):
        assert (await process.service.profile(request("a"))).status == "generated"
    assert process.model.calls == 1


async def test_an_older_profile_is_the_answer_that_is_there_at_once(world: World) -> None:
    await world.put(U, request=replace(ASKED, history=()), made_with=OLD, age_s=7200)
    process = world.process()
    slow(process, 5.0)
    process.model.free.clear()
    answer = await process.service.profile(replace(ASKED, deadline_s=4.0))
    assert answer.status == "stale"


async def test_a_degraded_answer_waits_for_no_encoder(world: World) -> None:
    process = world.process()
    slow(process, 5.0)
    process.model.free.clear()
    assert (await process.service.profile(request("a", deadline_s=4.0))).status == "degraded"
    process.encoder.free.clear()
    answers = await asyncio.gather(
        *(process.service.profile(request(f"{n}", deadline_s=4.0)) for n in range(200))
    )
    assert {answer.status for answer in answers} == {"degraded"}


async def test_a_crowd_makes_no_more_tasks_than_can_be_served(world: World) -> None:
    process = world.process(max_concurrent=4, max_waiting=1000, generation_timeout_s=60)
    slow(process, 1.0, each=1.0)
    process.model.free.clear()
    asked = [process.ask(request(f"{n}", deadline_s=4.0)) for n in range(500)]
    await settled()
    tasks = len(process.service._demand._single_flight._tasks)
    # Two or so in time; behind them as many as are made within 48 s, a few seconds each.
    assert 2 <= tasks <= 60
    late = sum(task.done() for task in asked)
    assert late >= 490
    process.model.free.set()
    await asyncio.gather(*asked)


async def test_without_a_deadline_what_would_take_too_long_is_told_when_to_come_back(
    world: World,
) -> None:
    process = world.process(max_concurrent=1, max_waiting=100, generation_timeout_s=10)
    slow(process, 2.0)
    process.model.free.clear()
    waiting = [process.ask(request(f"{n}")) for n in range(4)]
    await settled()
    found = []
    for n in range(3):
        with pytest.raises(Overloaded) as raised:
            await process.service.profile(request(f"late {n}"))
        found.append(raised.value.retry_after)
    # Whoever comes later is told a later time: all of them cannot come at once.
    assert found == sorted(found)
    assert found[0] < found[-1]
    process.model.free.set()
    await asyncio.gather(*waiting)


def test_a_place_is_kept_for_who_was_told_to_come() -> None:
    promises = Promises()
    assert promises.give("a", 100.0, 3.2) == 4
    assert promises.outstanding(100.0) == 1
    assert not promises.keep("a", 101.0), "too early"
    assert promises.keep("a", 104.2)
    assert not promises.keep("a", 104.3), "once"
    promises.give("b", 100.0, 0.1)
    assert promises.outstanding(120.0) == 0


async def test_a_crowd_that_has_gone_leaves_no_work_behind(world: World) -> None:
    process = world.process(max_concurrent=1, max_waiting=8)
    process.model.free.clear()
    first = process.ask(request("first"))
    await process.model.asked.get()
    leave = asyncio.Event()

    async def gone() -> None:
        await leave.wait()

    abandoned = [
        asyncio.create_task(process.service.profile(request(f"{n}"), gone=gone)) for n in range(7)
    ]
    await process.joined(8)
    with pytest.raises(Overloaded):
        await process.service.profile(request("one more"))
    leave.set()
    for task in abandoned:
        with pytest.raises(CallerGone):
            await task
    await settled()
    assert len(process.service._demand._single_flight._tasks) == 1
    another = process.ask(request("one more"))
    process.model.free.set()
    assert {(await task).status for task in (first, another)} == {"generated"}
    assert process.model.calls == 2


async def test_what_is_at_the_model_is_kept_though_everybody_has_gone(world: World) -> None:
    process = world.process()
    process.model.free.clear()
    leave = asyncio.Event()

    async def gone() -> None:
        await leave.wait()

    asked = asyncio.create_task(process.service.profile(ASKED, gone=gone))
    await process.model.asked.get()
    leave.set()
    with pytest.raises(CallerGone):
        await asked
    process.model.free.set()
    async with asyncio.timeout(10):
        while await world.store.get(U) is None:  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(0)
    assert process.model.calls == 1


async def test_one_who_stays_keeps_what_the_others_gave_up(world: World) -> None:
    process = world.process(max_concurrent=1)
    process.model.free.clear()
    first = process.ask(request("first"))
    await process.model.asked.get()
    leaving, staying = process.ask(ASKED), process.ask(ASKED)
    await process.joined(2)
    leaving.cancel()
    await settled()
    process.model.free.set()
    assert {(await task).status for task in (first, staying)} == {"generated"}


async def test_while_the_circuit_is_open_misses_are_answered_at_once(world: World) -> None:
    process = world.process()
    process.service._generator._circuits = (
        Breaker(
            "model",
            failing=ModelUnavailable,
            refusing=ModelRefused,
            failures=1,
            longest_open_s=60,
            metrics=process.metrics,
        ),
    )
    (circuit,) = process.service._generator._circuits
    await circuit.failed(ModelUnavailable("it hangs"))
    with pytest.raises(ModelUnavailable):
        await circuit.call(process.model.context_window, probe=process.model.check)
    with pytest.raises(ModelUnavailable, match="in a row") as raised:
        await process.service.profile(ASKED)
    assert raised.value.retry_after == 1.0
    assert (await process.service.profile(replace(ASKED, deadline_s=9.0))).status == "degraded"
    assert (await process.service.profile(replace(ASKED, lenient=True))).status == "degraded"
    await world.put(U, request=replace(ASKED, history=()), made_with=OLD, age_s=7200)
    assert (await process.service.profile(ASKED)).status == "stale"
    assert process.model.calls == 0


@pytest.mark.parametrize(
    "error", [InvalidInput("too long"), ModelRefused("no template")], ids=lambda error: error.code
)
async def test_followers_are_told_what_their_leader_was_told(
    error: ReclmError, world: World
) -> None:
    leader, follower = world.process(), world.process()
    leader.model.script.append(error)
    following = await world.led(leader, follower, ASKED)
    leader.model.free.set()
    with pytest.raises(type(error), match="another process"):
        await following
    assert follower.model.calls == 0


async def test_another_process_hears_that_somebody_waits(world: World) -> None:
    one, other = world.process(max_concurrent=8), world.process()
    one.model.free.clear()
    waiting = [one.ask(request(f"b{n}", background=True)) for n in range(4)]
    for _ in range(4):
        await one.model.asked.get()
    other.model.free.clear()
    somebody = other.ask(ASKED)
    async with asyncio.timeout(20):
        while one.service._queue.at_model > 1:  # noqa: ASYNC110 - the queue has no event for this
            await asyncio.sleep(0.01)
    put_off = one.metrics.registry.get_sample_value("reclm_prompts_put_off_total")
    assert put_off == 3
    assert one.service.online_wait_s > 0
    other.model.free.set()
    one.model.free.set()
    assert (await somebody).status == "generated"
    assert {(await task).status for task in waiting} == {"generated"}


async def test_what_the_model_has_written_is_not_put_off_while_it_is_encoded(world: World) -> None:
    process = world.process(max_concurrent=8)
    process.encoder.free.clear()
    waiting = [process.ask(request(f"b{n}", background=True)) for n in range(4)]
    for _ in range(4):
        await process.model.asked.get()
        await process.encoder.asked.get()
    somebody = process.ask(ASKED)
    await process.model.asked.get()
    process.encoder.free.set()
    assert (await somebody).status == "generated"
    assert {(await task).status for task in waiting} == {"generated"}
    assert process.model.calls == 5
