"""The limit against a model server in virtual time, and the limiter in real time."""

from __future__ import annotations

import asyncio

import pytest

from services.backfill.concurrency import ConcurrencyLimiter, Limit
from tests.services.backfill.model_server import saturating, serve

SEEDS = range(5)


@pytest.mark.parametrize("start", [4, 32, 200])
@pytest.mark.parametrize("half", [2, 8, 24])
@pytest.mark.parametrize("batch", [16, 32, 64])
def test_it_finds_nearly_the_best(batch: int, half: float, start: int) -> None:
    rate = saturating(10, half, batch)
    best = rate(batch, 0)
    for seed in SEEDS:
        course = serve(1_500, rate, limit=Limit(start=start), seed=seed)
        assert course.rate(500, 1_400) > 0.9 * best


@pytest.mark.parametrize("batch", [16, 32])
def test_it_does_not_grow_without_end(batch: int) -> None:
    for seed in SEEDS:
        course = serve(2_000, saturating(10, 8, batch), limit=Limit(), seed=seed)
        resting = sorted(course.limits[1_000:])
        assert resting[len(resting) // 2] <= 3 * batch


def test_refusals_are_rare_and_cost_little() -> None:
    for seed in SEEDS:
        limit = Limit(start=32)
        course = serve(3_000, saturating(10, 8, 1_000), limit=limit, seed=seed, refuse_from=20)
        assert course.refused < 0.01 * 3_000
        assert course.rate(200, 2_900) > 0.85 * saturating(10, 8, 1_000)(20, 0)


def test_it_gives_way_to_others_and_comes_back() -> None:
    def rate(under_way: int, now: float) -> float:
        mine = 5 if 100 < now < 300 else 10
        return mine * min(under_way, 48) / (min(under_way, 48) + 8)

    for seed in SEEDS:
        course = serve(4_000, rate, limit=Limit(start=32, highest=64), seed=seed)
        before = max(course.limit_at(when) for when in range(90, 110))
        during = min(course.limit_at(when) for when in range(110, 200, 5))
        assert during <= 0.75 * before
        late = [at for at in course.answered_at if 340 < at < 400]
        assert len(late) / 60 > 0.9 * rate(48, 350)


def test_hits_say_nothing_about_the_model() -> None:
    course = serve(3_000, saturating(10, 8, 64), limit=Limit(), seed=1, hits=0.6)
    assert course.rate(1_500, 2_900) > 0.9 * saturating(10, 8, 64)(64, 0) / 0.4


def test_a_burst_of_refusals_lowers_the_limit_once() -> None:
    limit = Limit(start=100)
    for _ in range(50):
        limit.pushed_back(10.0, begun=9.0)
    assert limit.current == 70
    limit.pushed_back(11.0, begun=10.5)
    assert limit.current == 49


def test_the_limit_stays_between_its_bounds() -> None:
    limit = Limit(start=500, lowest=2, highest=64)
    assert limit.current == 64
    for moment in range(100):
        limit.pushed_back(float(moment), begun=float(moment))
    assert limit.current == 2


@pytest.mark.anyio
async def test_no_more_than_the_limit_are_let_in_and_the_first_goes_first() -> None:
    limiter = ConcurrencyLimiter(Limit(start=3))
    order: list[int] = []
    leave = asyncio.Event()

    async def go(number: int) -> None:
        async with limiter.slot():
            order.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(go(number)) for number in range(10)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == [0, 1, 2]
    assert limiter.under_way == 3
    leave.set()
    await asyncio.gather(*tasks)
    assert order == list(range(10))
    assert limiter.under_way == 0


@pytest.mark.anyio
async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    limiter = ConcurrencyLimiter(Limit(start=1))
    async with limiter.slot():
        waiting = [asyncio.create_task(_through(limiter)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    # One that was just let in, and is cancelled before it could go on, gives its place back.
    waiting[1].cancel()
    assert await waiting[2] is None
    assert limiter.under_way == 0


async def _through(limiter: ConcurrencyLimiter) -> None:
    async with limiter.slot():
        pass


@pytest.mark.anyio
async def test_after_a_push_back_nobody_goes_through_for_as_long_as_was_asked_for() -> None:
    now = 100.0
    limiter = ConcurrencyLimiter(
        Limit(start=4), uniform=lambda: 0.5, shortest_pause_s=0.2, clock=lambda: now
    )
    async with limiter.slot() as slot:
        slot.pushed_back(0.03)
    waiting = asyncio.create_task(_through(limiter))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    now += 0.131
    await asyncio.wait_for(waiting, 5)


@pytest.mark.anyio
async def test_pauses_grow_until_there_is_an_answer() -> None:
    now = 0.0
    limiter = ConcurrencyLimiter(
        Limit(start=4),
        uniform=lambda: 1.0,
        shortest_pause_s=1.0,
        longest_pause_s=4.0,
        clock=lambda: now,
    )
    pauses = []
    for answers in (False, False, False, False, True, False):
        async with limiter.slot() as slot:
            if answers:
                slot.answered(cheap=True)
                continue
            slot.pushed_back(0.0)
        pauses.append(limiter._closed_until - now)
        now = limiter._closed_until + 0.001
    assert pauses == pytest.approx([1, 2, 4, 4, 1], abs=0.01)


def test_while_people_wait_a_few_are_in_flight_and_afterwards_as_many_as_before() -> None:
    limit = Limit(start=32, highest=64)
    limit.online(0.8)
    assert limit.current == 4
    for answer in range(200):
        limit.answered(5.0, float(answer), 4)
    limit.online(0.0)
    assert limit.current == 32, "what was measured beside others says nothing about the model"


def test_people_who_come_and_go_cost_the_job_nothing_later() -> None:
    """A job of which every tenth second is lost to others is as fast as ever in the other nine."""
    for seed in SEEDS:
        limit = Limit(start=32, highest=64)
        course = serve(2_000, saturating(10, 8, 32), limit=limit, seed=seed)
        undisturbed = course.rate(1_000, 1_900)
        limit.online(1.0)
        limit.online(0.0)
        course = serve(1_000, saturating(10, 8, 32), limit=limit, seed=seed)
        assert course.rate(300, 900) > 0.9 * undisturbed


@pytest.mark.anyio
async def test_who_is_told_that_nobody_waits_any_more_lets_the_others_in() -> None:
    limiter = ConcurrencyLimiter(Limit(start=8))
    leave = asyncio.Event()
    running = 0

    async def go() -> None:
        nonlocal running
        async with limiter.slot():
            running += 1
            await leave.wait()

    async with limiter.slot() as slot:
        slot.told(0.7)
        tasks = [asyncio.create_task(go()) for _ in range(10)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert running == 3
        slot.told(0.0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert running == 7
        leave.set()
        await asyncio.gather(*tasks)
