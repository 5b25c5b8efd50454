"""Open-loop load: requests arrive when they do, however long the answers to others take."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.subjects import Content

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.chaos.checker import Checker
    from tests.chaos.sender import Sender
    from tests.chaos.subjects import Role, Subject

MOST_EVENTS = 8
"""Events of a clicker in one life; after that, only an erasure makes room."""

_RETRY_S = 0.4
_PREPARED_AT_ONCE = 8
_AFTER_ERASURE_S = (0.0, 0.4, 1.5, 5.0)
"""When it is looked whether somebody erased has come back."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what is asked.

    Attributes:
        rate: Arrivals per second, on average.
        shares: Weights of the methods `ask_NAME` of `Load`.
    """

    rate: float
    shares: Mapping[str, float]


SCRIPTED = Mix(
    rate=15.0,
    shares={
        "hit": 22, "miss": 12, "event": 18, "by_id": 8, "read": 14, "events": 5, "score": 12,
        "embeddings": 3, "erasure": 3.5, "item": 2, "activation": 0.5,
    },
)  # fmt: skip
VLLM = Mix(
    rate=6.0,
    shares={
        "hit": 32, "miss": 5, "event": 6, "by_id": 8, "read": 20, "events": 6, "score": 13,
        "embeddings": 3, "erasure": 2, "item": 2, "activation": 0.5,
    },
)  # fmt: skip
"""A CPU writes hardly more than one profile a second."""

POPULATION: Mapping[Role, int] = {"reader": 60, "clicker": 40, "item": 20}
FIRST_NEW = 1_000_000
"""Numbers of readers who come only once begin here."""


class Load:
    """Draws requests and sends them, each in a task of its own.

    Args:
        seed: Of the arrivals and of all that is drawn.
        bundles: Names to activate.
    """

    def __init__(
        self, sender: Sender, checker: Checker, mix: Mix, *, seed: int, bundles: tuple[str, ...]
    ) -> None:
        self._send = sender
        self._checker = checker
        self._mix = mix
        self._random = random.Random(seed)
        self._bundles = bundles
        self.tasks: set[asyncio.Task[object]] = set()
        self._chains: set[int] = set()
        self._activating = asyncio.Lock()
        self._new = FIRST_NEW
        self._stopped = False
        self._failure: BaseException | None = None
        self.of: dict[Role, list[Subject]] = {}
        number = 0
        for role, count in POPULATION.items():
            self.of[role] = [checker.subject(number + place, role) for place in range(count)]
            number += count
        self._known = [subject for subjects in self.of.values() for subject in subjects]

    async def prepare(self) -> None:
        """Activates a bundle, and gives each subject a first profile or event."""
        while True:
            call = await self._send.activate(self._bundles[0])
            if call.status == 200:
                break
            await asyncio.sleep(_RETRY_S)
        at_once = asyncio.Semaphore(_PREPARED_AT_ONCE)

        async def first(subject: Subject) -> None:
            async with at_once:
                await self._first(subject)

        await asyncio.gather(*(first(subject) for subject in self._known))

    async def run(self) -> None:
        """Sends requests until it is cancelled or stopped."""
        names, weights = zip(*self._mix.shares.items(), strict=True)
        asks: dict[str, Callable[[], Awaitable[None]]] = {
            name: getattr(self, f"ask_{name}") for name in names
        }
        at = asyncio.get_running_loop().time()
        while not self._stopped:
            at += self._random.expovariate(self._mix.rate)
            (name,) = self._random.choices(names, weights)
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            self._spawn(asks[name]())
            if self._failure is not None:
                raise RuntimeError("the lab itself failed") from self._failure

    async def drain(self) -> None:
        """Sends nothing new, and waits until all is answered."""
        self._stopped = True
        while self.tasks:
            await asyncio.wait(self.tasks)

    def probe(self) -> None:
        """Sends a request of each kind that a recovery is measured by."""
        known = self._random.choice([one for one in self._known if one.parts and not one.erasing])
        self._spawn(self._send.read(known))
        for ask in (self.ask_hit, self.ask_new, self.ask_event, self.ask_score):
            self._spawn(ask())

    async def ask_hit(self) -> None:
        """A history that was read before, or the first one after an erasure."""
        subject = self._one("reader", "item")
        if not subject.erasing:
            content = _newest(subject) if subject.parts else _next(subject)
            await self._send.profile(subject, content, kind="hit")

    async def ask_new(self) -> None:
        """A history of somebody whom nobody knows."""
        self._new += 1
        await self._miss(self._checker.subject(self._new, "reader"))

    async def ask_miss(self) -> None:
        """A history that nobody has read, by one caller or by several at once."""
        if self._random.random() < 0.6:
            await self.ask_new()
        else:
            await self._miss(self._one("reader", "item"))

    async def _miss(self, subject: Subject) -> None:
        if subject.erasing:
            return
        content = _next(subject)
        callers = self._random.choice((1, 1, 1, 2, 5))
        await asyncio.gather(
            *(self._send.profile(subject, content, kind="miss") for _ in range(callers))
        )

    async def ask_event(self) -> None:
        """The next event of somebody, sent until it is accepted."""
        able = [
            one
            for one in self.of["clicker"]
            if not one.erasing and one.parts < MOST_EVENTS and one.number not in self._chains
        ]
        if able:
            await self._event(self._random.choice(able))

    async def ask_by_id(self) -> None:
        """The profile of somebody of whom the service has to know something."""
        await self._send.profile_by_id(self._one("clicker", "clicker", "reader"))

    async def ask_read(self) -> None:
        """A profile as it is stored."""
        await self._send.read(self._one("reader", "clicker", "item"))

    async def ask_events(self) -> None:
        """The events of somebody."""
        await self._send.events(self._one("clicker"))

    async def ask_score(self) -> None:
        """Items for somebody."""
        await self._send.score(self._one("reader", "clicker"))

    async def ask_embeddings(self) -> None:
        """Vectors of many."""
        users = [*self.of["reader"], *self.of["clicker"]]
        await self._send.embeddings(self._random.sample(users, 20))

    async def ask_item(self) -> None:
        """An item that was stored."""
        ids = self._checker.stored_items()
        if ids:
            await self._send.get_item(self._random.choice(ids))

    async def ask_activation(self) -> None:
        """Another bundle."""
        async with self._activating:
            await self._send.activate(self._random.choice(self._bundles))

    async def ask_erasure(self) -> None:
        """An erasure, often while a profile is being made, repeated until it is acknowledged."""
        subject = self._one("reader", "reader", "clicker", "item")
        if subject.erasing or not subject.parts:
            return
        if self._random.random() < 0.6:
            if subject.role == "clicker":
                self._spawn(self._send_by_id_and_score(subject))
            else:
                self._spawn(self._miss(subject))
            await asyncio.sleep(self._random.uniform(0.0, 0.3))
        if subject.erasing:
            return
        subject.erasing = True
        while True:
            call = await self._send.erase(subject)
            if call.status == 204:
                break
            await asyncio.sleep(_RETRY_S)
        subject.next_life()
        for after_s in _AFTER_ERASURE_S:
            self._spawn(self._look_after(subject, after_s))

    async def look_at(self, subject: Subject) -> None:
        """Asks in all ways what is known of a subject, and brings nothing."""
        asks = [self._send.read(subject)]
        if subject.kind == "user":
            asks += [self._send.profile_by_id(subject), self._send.score(subject)]
            asks += [self._send.embeddings([subject]), self._send.events(subject)]
        await asyncio.gather(*asks)

    async def _look_after(self, subject: Subject, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self.look_at(subject)

    async def _send_by_id_and_score(self, subject: Subject) -> None:
        await asyncio.gather(self._send.profile_by_id(subject), self._send.score(subject))

    async def _first(self, subject: Subject) -> None:
        if subject.role == "clicker":
            await self._event(subject)
        else:
            await self._send.profile(subject, _next(subject), kind=None)

    async def _event(self, subject: Subject) -> None:
        """Stores an item and sends an event of it, both until they are accepted."""
        self._chains.add(subject.number)
        try:
            life, content = subject.life, _next(subject)
            at_ms = time.time_ns() // 1_000_000
            stored = False
            while subject.life == life and not subject.erasing:
                if not stored:
                    stored = (await self._send.put_item(subject, content)).status == 200
                    if stored:
                        continue
                else:
                    call = await self._send.event(subject, content, at_ms)
                    if call.status == 202:
                        if call.answer["events"] == 0:  # the store's clock was ahead at the erasure
                            subject.parts = MOST_EVENTS
                        return
                    stored = call.status != 422  # a crash may have lost the item
                await asyncio.sleep(_RETRY_S)
        finally:
            self._chains.discard(subject.number)

    def _one(self, *roles: Role) -> Subject:
        return self._random.choice(self.of[self._random.choice(roles)])

    def _spawn(self, asking: Awaitable[object]) -> None:
        task = asyncio.ensure_future(asking)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()


def _newest(subject: Subject) -> Content:
    return Content(subject.number, subject.life, subject.parts - 1)


def _next(subject: Subject) -> Content:
    subject.parts += 1
    return _newest(subject)
