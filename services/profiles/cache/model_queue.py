"""Who may have a prompt at the model, and when: a queue with slots, for one process.

Requests that somebody waits for go first. The others, in the background, get as many slots as will
be free again in about the time for which nobody has come: few while people come and go, nearly all
at night. When somebody comes, those of them that run beyond a few are put off and run again later.
Where prompts are not answered in time, fewer run at a time. Why: docs/decisions/0023-overload.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from services.profiles.cache.service_time import ServiceTime
from services.profiles.errors import ModelTooSlow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

T = TypeVar("T")

_KEPT = 1
"""Prompts in the background that go on when somebody comes."""

_NEARLY_DONE = 0.85
"""The share of its expected time from which on a prompt in the background is not put off."""

_HOT_S = 0.4
"""For so long after somebody was at the model, nothing in the background begins."""

_STARVED_S = 10.0
"""After this time one prompt in the background begins, whoever else is there: a job must see that
it is not forgotten."""

_RECENT = 0.3
"""The weight of the newest online answer in the moving mean of their times."""

_TURNS = 10
"""Turns of the event loop before a prompt that is put off ends: an answer that is here is read."""

_LOOK_S = 0.1
"""How often it is looked whether the background may have more."""

_FORGOTTEN_S = 10.0
"""After this time without one, nobody is taken to be waiting online."""


class PutOff(Exception):
    """A prompt in the background was ended, so that somebody who waits is served; it is to run again."""


class Ticket:
    """One generation in the queue.

    Attributes:
        background: Nobody waits for it.
        at_model: It has a place.
    """

    def __init__(self, *, background: bool) -> None:
        self.background = background
        self.at_model = False
        self._turn: asyncio.Future[None] | None = None
        self._running: asyncio.Task[object] | None = None
        self._put_off = False
        self._answered = False
        self._since = 0.0

    async def interruptible(self, work: Coroutine[object, object, T]) -> T:
        """Runs the prompt, which may be ended for the sake of others.

        Raises:
            PutOff: It was.
        """
        task = self._running = asyncio.create_task(work)
        if self._put_off:
            task.cancel()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            self._running = None
        if task.cancelled() and self._put_off:
            raise PutOff
        answer = task.result()
        self._answered = True
        return answer

    def put_off(self) -> None:
        """Ends what runs, unless its answer has arrived; or what would run next."""
        if self._put_off:
            return
        self._put_off = True
        if self._running is not None:
            _cancel_later(self._running, _TURNS)


def _cancel_later(task: asyncio.Task[object], turns: int) -> None:
    if turns:
        asyncio.get_running_loop().call_soon(_cancel_later, task, turns - 1)
    else:
        task.cancel()


class ModelQueue:
    """Places at the model.

    When a prompt is not answered in time, the limit falls to half of those that are at the model;
    each answer raises it again, by one for a limit's worth of answers (additive increase,
    multiplicative decrease, as in Chiu and Jain 1989).

    Args:
        slots: Most prompts at a time.
        background_slots: Most of them in the background.
        clock: Seconds.
    """

    def __init__(
        self,
        *,
        slots: int,
        background_slots: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = slots
        self._limit = float(slots)
        self._lowered_at = -math.inf
        self._background_slots = background_slots
        self._clock = clock
        self._times = ServiceTime()
        self._online: deque[Ticket] = deque()
        self._background: deque[Ticket] = deque()
        self._at_model: list[Ticket] = []
        self._coming: dict[bool, set[Ticket]] = {False: set(), True: set()}
        self._integral = 0.0
        self._integral_at = clock()
        self._online_at = -math.inf
        self._online_s: float | None = None
        self._begun_at = clock()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _slots(self) -> int:
        """Most prompts at a time, for now."""
        return int(self._limit)

    @property
    def at_model(self) -> int:
        """Prompts at the model."""
        return len(self._at_model)

    @property
    def waiting(self) -> int:
        """Generations that somebody waits for and that have no place yet."""
        return len(self._online)

    @property
    def full(self) -> bool:
        """Whether somebody who came now would have to wait for a place."""
        ahead = len(self._at_model) + len(self._online) + len(self._coming[False])
        return ahead >= self._slots

    def would_wait(self, ticket: Ticket) -> bool:
        """Returns whether a ticket would have to wait for a place now."""
        if ticket.background:
            running = sum(one.background for one in self._at_model)
            return bool(self._background) or running >= self._share()
        return bool(self._online) or len(self._at_model) >= self._slots

    @property
    def busy_in_background(self) -> bool:
        """Whether anything in the background runs or waits for a place."""
        return bool(self._background or self._coming[True]) or any(
            ticket.background for ticket in self._at_model
        )

    @property
    def online_present(self) -> bool:
        """Whether somebody waits for the model now, in this process."""
        return bool(self._online or self._coming[False]) or any(
            not ticket.background for ticket in self._at_model
        )

    @property
    def online_wait_s(self) -> float:
        """What people have waited for the model of late, in seconds; 0 if nobody has come for a while."""
        if self._quiet() > _FORGOTTEN_S:
            return 0.0
        return self._online_s or self._times.predict(1) or 0.001

    def expect(self, ticket: Ticket) -> None:
        """Counts a generation that has begun and will ask for a place in a moment."""
        self._coming[ticket.background].add(ticket)

    def forget(self, ticket: Ticket) -> None:
        """Counts it no more."""
        self._coming[ticket.background].discard(ticket)

    def expected_s(self) -> float | None:
        """Returns the seconds until a request that came now would have its answer; None if unknown."""
        in_background = sum(ticket.background for ticket in self._at_model)
        online = len(self._at_model) - in_background + len(self._online) + len(self._coming[False])
        among = online + min(_KEPT, in_background) + 1
        alone = self._times.predict(min(among, self._slots))
        if alone is None:
            return None
        return alone + max(0, among - self._slots) * alone / self._slots

    def expected_in_background_s(self) -> float | None:
        """Returns the same for a request in the background."""
        running = sum(ticket.background for ticket in self._at_model)
        share = max(1, self._share(), running)
        alone = self._times.predict(min(len(self._at_model) + 1, self._slots))
        if alone is None:
            return None
        before = len(self._background) + len(self._coming[True])
        return alone * (1 + (before + 1) / share)

    @contextlib.asynccontextmanager
    async def place(self, ticket: Ticket) -> AsyncIterator[None]:
        """Waits for a place, and holds it while the body runs."""
        came = self._clock()
        await self._enter(ticket)
        self._count()
        ticket.at_model, ticket._put_off, ticket._answered = True, False, False  # noqa: SLF001
        ticket._since = began = self._clock()  # noqa: SLF001 - one thing in two classes
        integral = self._integral
        try:
            yield
        except ModelTooSlow:
            self._lower(began)
            raise
        finally:
            self._count()
            now = self._clock()
            ticket.at_model = False
            self._at_model.remove(ticket)
            if ticket._answered and now > began:  # noqa: SLF001
                self._times.observe((self._integral - integral) / (now - began), now - began)
                self._limit = min(self._most, self._limit + 1 / self._limit)
                if not ticket.background:
                    before = now - came if self._online_s is None else self._online_s
                    self._online_s = before + _RECENT * (now - came - before)
            if not ticket.background:
                self.somebody_came()
            self._let_in()

    def _lower(self, began: float) -> None:
        """Halves the limit, once for all prompts that were under way together."""
        if began >= self._lowered_at:
            self._limit = max(1.0, min(self._limit, len(self._at_model)) / 2)
            self._lowered_at = self._clock()

    def demote(self, ticket: Ticket) -> None:
        """Nobody waits for it any more, and it is still wanted: it goes behind."""
        if ticket.background:
            return
        self._change(ticket)
        if ticket in self._online:
            self._online.remove(ticket)
            self._background.append(ticket)
        self._let_in()

    def promote(self, ticket: Ticket) -> None:
        """Somebody waits for it now: it goes with those that are waited for."""
        if not ticket.background:
            return
        self._change(ticket)
        if ticket in self._background:
            self._background.remove(ticket)
            self._online.append(ticket)
        self._make_room()
        self._let_in()

    def _change(self, ticket: Ticket) -> None:
        coming = ticket in self._coming[ticket.background]
        self.forget(ticket)
        ticket.background = not ticket.background
        if coming:
            self.expect(ticket)

    def somebody_came(self, ago_s: float = 0.0) -> None:
        """Notes that somebody waits, or has waited so long ago, for the model: here or elsewhere."""
        self._online_at = max(self._online_at, self._clock() - ago_s)
        if self._quiet() < _HOT_S:
            self._make_room()

    async def _enter(self, ticket: Ticket) -> None:
        turn = ticket._turn = asyncio.get_running_loop().create_future()  # noqa: SLF001
        self.forget(ticket)
        if ticket.background:
            self._background.append(ticket)
        else:
            self._online.append(ticket)
            self.somebody_came()
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                (self._background if ticket.background else self._online).remove(ticket)
            if ticket in self._at_model:
                self._at_model.remove(ticket)
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._online and len(self._at_model) < self._slots:
            self._begin(self._online.popleft())
        running = sum(ticket.background for ticket in self._at_model)
        allowed = self._share()
        while self._background and running < allowed and len(self._at_model) < self._slots:
            running += 1
            self._begun_at = self._clock()
            self._begin(self._background.popleft())
        if self._background and self._timer is None:
            # The share grows as time goes by without anybody.
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._let_in()

    def _begin(self, ticket: Ticket) -> None:
        self._count()
        self._at_model.append(ticket)
        turn = ticket._turn  # noqa: SLF001
        assert turn is not None  # noqa: S101 - made before it got into a queue
        if not turn.done():
            turn.set_result(None)

    def _quiet(self) -> float:
        """Returns for how long nobody has waited for the model, here or elsewhere."""
        return 0.0 if self.online_present else self._clock() - self._online_at

    def _share(self) -> int:
        """Returns how many prompts in the background may run, for another one to begin."""
        quiet = self._quiet()
        if quiet < _HOT_S:
            return int(self._clock() - self._begun_at > _STARVED_S)
        if quiet == math.inf:
            return self._background_slots
        most = self._times.most_within(quiet)
        share = quiet if most is None else most
        return max(_KEPT, int(min(share, self._background_slots)))

    def _make_room(self) -> None:
        """Puts off what runs in the background beyond a few, the youngest first."""
        now = self._clock()
        running = [ticket for ticket in self._at_model if ticket.background]
        expected = self._times.predict(max(1, len(self._at_model))) or math.inf
        for ticket in running[_KEPT:]:
            if now - ticket._since < _NEARLY_DONE * expected:  # noqa: SLF001
                ticket.put_off()

    def _count(self) -> None:
        """Adds up how many prompts were at the model, over time."""
        now = self._clock()
        self._integral += (now - self._integral_at) * len(self._at_model)
        self._integral_at = now
