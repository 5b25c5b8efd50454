"""Who gets a place at the model, and what wait is expected, on a clock that a test moves."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.profiles.cache.model_queue import ModelQueue, PutOff, Ticket
from services.profiles.cache.service_time import ServiceTime
from services.profiles.errors import ModelTooSlow

pytestmark = pytest.mark.anyio


class Bench:
    """A queue, and generations that end when a test says so."""

    def __init__(self, *, slots: int = 8, background_slots: int = 6) -> None:
        self.now = 1_000.0
        self.queue = ModelQueue(
            slots=slots, background_slots=background_slots, clock=lambda: self.now
        )
        self.running: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tickets: dict[str, Ticket] = {}
        self.put_off: list[str] = []
        self.too_slow: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, name: str, *, background: bool = False) -> asyncio.Task[None]:
        self.ends[name] = asyncio.Event()
        self.tickets[name] = Ticket(background=background)
        task = asyncio.create_task(self._go(name))
        self.tasks.append(task)
        return task

    async def _go(self, name: str) -> None:
        ticket = self.tickets[name]
        while True:
            try:
                async with self.queue.place(ticket):
                    await ticket.interruptible(self._at_model(name))
            except PutOff:
                self.put_off.append(name)
            else:
                return

    async def _at_model(self, name: str) -> None:
        self.running.append(name)
        try:
            await self.ends[name].wait()
            if name in self.too_slow:
                raise ModelTooSlow("no")
        finally:
            self.running.remove(name)

    async def end(self, *names: str, after: float = 0.0) -> None:
        self.now += after
        for name in names:
            self.ends[name].set()
        await settled()

    async def pass_time(self, seconds: float) -> None:
        """Moves the clock, and has the queue look again."""
        self.now += seconds
        self.queue._let_in()
        await settled()

    async def observe(self, seconds: float, *, background: bool = False) -> None:
        """Has one prompt alone at the model take so long."""
        name = f"observed at {self.now}"
        self.begin(name, background=background)
        await settled()
        await self.end(name, after=seconds)


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


@contextlib.asynccontextmanager
async def ending(bench: Bench):  # type: ignore[no-untyped-def]
    try:
        yield
    finally:
        for task in bench.tasks:
            task.cancel()
        await asyncio.gather(*bench.tasks, return_exceptions=True)


async def test_no_more_than_the_slots_and_first_come_first_served() -> None:
    bench = Bench(slots=2)
    async with ending(bench):
        for name in "abcd":
            bench.begin(name)
        await settled()
        assert bench.running == ["a", "b"]
        assert bench.queue.waiting == 2
        await bench.end("a")
        assert bench.running == ["b", "c"]
        await bench.end("b", "c", "d")
        assert (bench.queue.at_model, bench.queue.waiting) == (0, 0)


async def test_who_gives_up_waiting_leaves_the_place_to_the_next() -> None:
    bench = Bench(slots=1)
    async with ending(bench):
        bench.begin("a")
        second = bench.begin("b")
        bench.begin("c")
        await settled()
        second.cancel()
        await settled()
        await bench.end("a")
        assert bench.running == ["c"]


async def test_the_background_has_all_its_slots_while_nobody_comes(bench: Bench) -> None:
    async with ending(bench):
        for name in "abcdefgh":
            bench.begin(name, background=True)
        await settled()
        assert bench.running == list("abcdef")


async def test_when_somebody_comes_all_but_one_in_the_background_are_put_off(bench: Bench) -> None:
    async with ending(bench):
        for name in "abcd":
            bench.begin(name, background=True)
        await settled()
        bench.begin("somebody")
        await settled()
        assert bench.running == ["a", "somebody"]
        assert bench.put_off == ["b", "c", "d"]
        await bench.end("a")
        assert bench.running == ["somebody"], "nothing begins beside somebody who waits"


async def test_an_answer_that_has_arrived_is_read_before_a_prompt_is_put_off(bench: Bench) -> None:
    async with ending(bench):
        await bench.observe(4.0, background=True)
        for name in "abc":
            bench.begin(name, background=True)
        await settled()
        bench.ends["c"].set()  # in the same turn of the event loop in which somebody comes
        bench.begin("online")
        await settled()
        assert bench.put_off == ["b"]


async def test_fewer_at_a_time_where_prompts_are_not_answered_in_time() -> None:
    bench = Bench(slots=8)
    async with ending(bench):
        names = [f"{n}" for n in range(8)]
        for name in names:
            bench.begin(name)
        await settled()
        assert len(bench.running) == 8
        for name in names:
            bench.too_slow.add(name)
        await bench.end(*names, after=60.0)
        outcomes = await asyncio.gather(*bench.tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ModelTooSlow] * 8

        for name in (later := [f"later {n}" for n in range(40)]):
            bench.begin(name)
        await settled()
        assert bench.running == later[:4]  # halved once, not once for each of them
        for _ in range(4):
            await bench.end(*bench.running, after=5.0)
        assert len(bench.running) > 4


async def test_what_was_put_off_runs_again_when_it_is_quiet(bench: Bench) -> None:
    async with ending(bench):
        await bench.observe(1.0)
        for name in "abcd":
            bench.begin(name, background=True)
        await bench.pass_time(30)
        assert bench.running == list("abcd")
        bench.begin("somebody")
        await settled()
        await bench.end("somebody", after=0.5)
        await bench.pass_time(0.1)
        assert bench.running == ["a"], "somebody may come again at any moment"
        await bench.pass_time(0.5)
        assert bench.running == ["a"], "as many as would be done in half a second: not even one"
        await bench.pass_time(30)
        assert bench.running == list("abcd")


async def test_what_is_nearly_done_is_left_to_finish(bench: Bench) -> None:
    async with ending(bench):
        await bench.observe(10.0)
        await bench.pass_time(100)
        for name in "ab":
            bench.begin(name, background=True)
        await settled()
        bench.now += 18
        bench.begin("c", background=True)
        await settled()
        bench.begin("somebody")
        await settled()
        assert sorted(bench.running) == ["a", "b", "somebody"]
        assert bench.put_off == ["c"]


async def test_somebody_elsewhere_counts_as_well(bench: Bench) -> None:
    async with ending(bench):
        for name in "abcd":
            bench.begin(name, background=True)
        await settled()
        bench.queue.somebody_came(ago_s=0.1)
        await settled()
        assert bench.running == ["a"]
        assert bench.queue.online_wait_s > 0
        await bench.pass_time(11)
        assert bench.queue.online_wait_s == 0


async def test_the_background_is_not_forgotten_altogether(bench: Bench) -> None:
    async with ending(bench):
        bench.begin("somebody")
        bench.begin("b", background=True)
        await bench.pass_time(9)
        assert bench.running == ["somebody"]
        await bench.pass_time(2)
        assert bench.running == ["somebody", "b"]


async def test_who_is_waited_for_no_longer_goes_behind_and_comes_back(bench: Bench) -> None:
    bench = Bench(slots=1)
    async with ending(bench):
        for name in "abc":
            bench.begin(name)
        await settled()
        bench.queue.demote(bench.tickets["b"])
        await bench.end("a")
        assert bench.running == ["c"]
        bench.queue.promote(bench.tickets["b"])
        await bench.end("c")
        assert bench.running == ["b"]


async def test_a_prompt_that_fails_says_nothing_about_the_time(bench: Bench) -> None:
    ticket = Ticket(background=False)

    async def fails() -> None:
        raise RuntimeError("no")

    async def asked() -> None:
        async with bench.queue.place(ticket):
            bench.now += 5
            await ticket.interruptible(fails())

    with pytest.raises(RuntimeError):
        await asked()
    assert bench.queue.expected_s() is None
    async with bench.queue.place(ticket):
        bench.now += 5  # somebody else had made the profile
    assert bench.queue.expected_s() is None


async def test_the_expected_wait_grows_with_what_is_there(bench: Bench) -> None:
    async with ending(bench):
        assert bench.queue.expected_s() is None
        for _ in range(20):
            await bench.observe(1.0)
        assert bench.queue.expected_s() == pytest.approx(1.0)
        for name in range(8):
            bench.begin(f"{name}")
        await settled()
        eight = bench.queue.expected_s()
        assert eight is not None
        assert eight > 4
        for name in range(8, 16):
            bench.begin(f"{name}")
        await settled()
        sixteen = bench.queue.expected_s()
        assert sixteen is not None
        assert sixteen > 1.5 * eight


async def test_what_people_waited_is_a_moving_mean(bench: Bench) -> None:
    async with ending(bench):
        assert bench.queue.online_wait_s == 0
        await bench.observe(2.0)
        assert bench.queue.online_wait_s == pytest.approx(2.0)
        await bench.observe(4.0)
        assert bench.queue.online_wait_s == pytest.approx(2.6)
        await bench.observe(9.0, background=True)
        assert bench.queue.online_wait_s == pytest.approx(2.6)


def test_seconds_are_a_line_over_the_prompts_at_a_time() -> None:
    times = ServiceTime()
    assert times.predict(1) is None
    assert times.most_within(3) is None
    for _ in range(20):
        for prompts in (1, 4, 8, 16):
            times.observe(prompts, 0.4 + 0.3 * prompts)
    for prompts in (1, 8, 20):
        assert times.predict(prompts) == pytest.approx(0.4 + 0.3 * prompts, rel=0.05)
    assert times.most_within(3.1) == pytest.approx(9, rel=0.05)


def test_one_stall_is_no_trend_and_a_new_speed_is_learnt() -> None:
    times = ServiceTime()
    for _ in range(100):
        times.observe(1, 1.0)
    times.observe(1, 60.0)
    predicted = times.predict(1)
    assert predicted is not None
    assert predicted < 1.2
    for _ in range(100):
        times.observe(1, 3.0)
    assert times.predict(1) == pytest.approx(3.0, rel=0.05)
