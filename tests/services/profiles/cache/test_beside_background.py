"""People beside a backfill, in virtual time: two workers, and a model server that batches.

The server does each step for all prompts at once, as SmolLM2 does on two cores: a prompt among n
takes 0.42 + 0.29 n seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from services.backfill.concurrency import Limit
from services.profiles.cache.model_queue import ModelQueue, PutOff, Ticket
from tests.support import virtual_time

_STEP_S = 0.02
_FIRST_S, _EACH_S = 0.42, 0.29
_IN_FLIGHT = 32
FULL_SPEED = _IN_FLIGHT / (_FIRST_S + _EACH_S * _IN_FLIGHT)


@dataclass
class Found:
    """What was measured: seconds that people waited, and profiles a second that the job made."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    by_itself: float = 0.0
    afterwards: float = 0.0
    meanwhile: float = 0.0


class Server:
    """Shares its time evenly among the prompts that it has."""

    def __init__(self) -> None:
        self._left: dict[asyncio.Event, float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_STEP_S)
            each = _STEP_S / (_FIRST_S + _EACH_S * len(self._left))
            for done in list(self._left):
                self._left[done] -= each
                if self._left[done] <= 0:
                    del self._left[done]
                    done.set()

    async def prompt(self) -> None:
        done = asyncio.Event()
        self._left[done] = 1.0
        try:
            await done.wait()
        finally:
            self._left.pop(done, None)


class Course:
    """Two workers that tell each other ten times a second, people, and a job."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = Server()
        self._workers = [
            ModelQueue(slots=64, background_slots=48, clock=loop.time) for _ in range(2)
        ]
        self._limit = Limit(start=_IN_FLIGHT, highest=_IN_FLIGHT)
        self._made = 0
        self._tasks = [
            asyncio.create_task(self._server.run()),
            asyncio.create_task(self._exchange()),
        ]

    async def people(self, count: int) -> list[float]:
        """Has somebody come every second and a half; returns how long each waited, sorted."""

        async def one(number: int) -> float:
            came = asyncio.get_running_loop().time()
            await self._generate(number, background=False)
            return asyncio.get_running_loop().time() - came

        tasks = []
        for number in range(count):
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(1.5)
        return sorted(await asyncio.gather(*tasks))

    def start_job(self) -> None:
        self._tasks += [asyncio.create_task(self._rows(number)) for number in range(_IN_FLIGHT)]

    async def rate(self, seconds: float) -> float:
        made = self._made
        await asyncio.sleep(seconds)
        return (self._made - made) / seconds

    @property
    def made(self) -> int:
        return self._made

    async def _rows(self, number: int) -> None:
        while True:
            while number >= self._limit.current:  # noqa: ASYNC110 - the limiter has the event
                await asyncio.sleep(0.1)
            await self._generate(number, background=True)
            self._made += 1
            self._limit.online(self._workers[number % 2].online_wait_s)

    async def _generate(self, number: int, *, background: bool) -> None:
        worker, ticket = self._workers[number % 2], Ticket(background=background)
        while True:
            try:
                async with worker.place(ticket):
                    await ticket.interruptible(self._server.prompt())
            except PutOff:
                continue
            return

    async def _exchange(self) -> None:
        loop = asyncio.get_running_loop()
        seen = float("-inf")
        while True:
            await asyncio.sleep(0.1)
            if any(worker.online_present for worker in self._workers):
                seen = loop.time()
            if loop.time() - seen < 60:
                for worker in self._workers:
                    worker.somebody_came(ago_s=loop.time() - seen)


async def _course() -> Found:
    course, found = Course(), Found()
    found.alone = await course.people(40)
    course.start_job()
    await asyncio.sleep(30)
    found.by_itself = await course.rate(60)
    made, began = course.made, asyncio.get_running_loop().time()
    found.beside = await course.people(60)
    found.meanwhile = (course.made - made) / (asyncio.get_running_loop().time() - began)
    await asyncio.sleep(20)
    found.afterwards = await course.rate(60)
    return found


def test_people_hardly_notice_a_job_that_is_as_fast_as_ever_without_them() -> None:
    found = virtual_time.run(_course())
    p95 = [times[len(times) * 95 // 100] for times in (found.alone, found.beside)]
    assert p95[1] <= 2 * p95[0]
    assert found.by_itself >= 0.9 * FULL_SPEED
    assert found.afterwards >= 0.9 * FULL_SPEED
    assert found.meanwhile >= 0.1 * FULL_SPEED, "the job goes on in the gaps"
