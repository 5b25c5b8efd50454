"""Who waits for which generation, and whether it can be had in time.

A request is admitted by the wait that is to be expected. One that cannot be served in its time is
told so at once, before it costs anything. A generation that nobody waits for any more goes behind,
and if it was given up before it reached the model, it ends. Why: docs/decisions/0023-overload.md.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.profiles.cache.model_queue import Ticket
from services.profiles.cache.production import background_share
from services.profiles.cache.promises import Promises
from services.profiles.cache.single_flight import SingleFlight
from services.profiles.errors import CallerGone, Overloaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

    from services.profiles.cache.answer import ProfileAnswer
    from services.profiles.cache.model_queue import ModelQueue
    from services.profiles.cache.neighbours import Neighbours
    from services.profiles.cache.production import Job
    from services.profiles.telemetry import Metrics

    Gone = Callable[[], Awaitable[None]]

_IN_TIME = 0.9
"""An answer is in time if it is expected within this share of the time that is left."""

_RESERVE = 0.05
"""The part of a deadline that is kept for the answer itself,"""
_MOST_RESERVE_S = 0.15
"""and the most that is kept."""

_SERVED = 0.8
"""Nothing is begun that is not expected to be done within this share of the limit of a generation."""

_BACKGROUND_S = 10.0
"""The longest time after which the background is to come back: it may have got quiet."""


@dataclass(slots=True, eq=False)
class _Shared:
    """A generation, and who waits for it.

    Attributes:
        callers: How many wait.
        wanted: Somebody was told that it would be there later.
    """

    task: asyncio.Task[ProfileAnswer]
    ticket: Ticket
    callers: int = 0
    wanted: bool = False


class Demand:
    """Admits requests to the model, and lets callers share what is made for them.

    Args:
        make: Makes a profile.
        queue: Of the model.
        neighbours: Told of who comes.
        timeout_s: Limit for a whole generation, as `make` has it.
        max_waiting: Most generations that are under way or wait. Those in the background may use
            three quarters of it.
    """

    def __init__(
        self,
        *,
        make: Callable[[Job], Coroutine[object, object, ProfileAnswer]],
        queue: ModelQueue,
        neighbours: Neighbours,
        timeout_s: float,
        max_waiting: int,
        metrics: Metrics,
    ) -> None:
        self._make = make
        self._queue = queue
        self._neighbours = neighbours
        self._served_s = _SERVED * timeout_s
        self._max_waiting = max_waiting
        self._single_flight: SingleFlight[ProfileAnswer] = SingleFlight()
        self._shared: dict[Hashable, _Shared] = {}
        self._promises = Promises()
        self._metrics = metrics

    async def answer(
        self, job: Job, *, until: float | None, gone: Gone | None
    ) -> ProfileAnswer | None:
        """Returns the profile when it is made; None if it cannot be made in time.

        Args:
            job: What to make. Its ticket is used for a new generation.
            until: When the caller must have an answer, on the loop's clock; None for no limit.
            gone: Returns when the caller is gone; None for one that cannot go.

        Raises:
            Overloaded: More wait than can be served.
            CallerGone: Nobody is there to take an answer.
            ReclmError: What `make` raises.
        """
        # `background` is part of the key: other requests must not wait for its turn. `epoch` is: a
        # request that comes after an erasure must not join one of before.
        request = job.request
        key = (
            request.key,
            request.digest(),
            request.stored,
            request.refresh,
            request.background,
            job.epoch,
        )
        shared = self._shared.get(key)
        until = None if until is None else until - self._reserve(job)
        if shared is None or not shared.ticket.at_model:
            if until is not None and not self._in_time(until):
                self._metrics.admissions.labels("late").inc()
                self._follow(key, job)
                return None
            if shared is None:
                if until is None:
                    self._admit(key, background=request.background)
                shared = self._begin(key, job)
                self._metrics.admissions.labels("admitted").inc()
        if not request.background:
            self._queue.promote(shared.ticket)
        return await self._wait(shared, until, gone)

    async def drain(self, timeout_s: float) -> None:
        """Lets what is being generated finish."""
        await self._single_flight.drain(timeout_s)

    def _reserve(self, job: Job) -> float:
        return min(_RESERVE * (job.request.deadline_s or math.inf), _MOST_RESERVE_S)

    def _in_time(self, until: float) -> bool:
        """Returns whether a request that came now would be answered by then."""
        expected = self._queue.expected_s()
        if expected is None:  # nothing was ever made: who gets a place may find out
            return not self._queue.full
        return expected <= _IN_TIME * (until - asyncio.get_running_loop().time())

    def _admit(self, key: Hashable, *, background: bool) -> None:
        """Refuses what could not be done within the limit of a generation.

        Raises:
            Overloaded: With the time after which there will be room.
        """
        if background:
            expected = self._queue.expected_in_background_s() or 0.0
            if expected > self._served_s:
                error = Overloaded("more requests in the background wait than can be served")
                error.retry_after = min(expected - self._served_s, _BACKGROUND_S)
                self._metrics.admissions.labels("refused").inc()
                raise error
            return
        now = asyncio.get_running_loop().time()
        if self._promises.keep(key, now):
            return
        expected = self._queue.expected_s() or 0.0
        each = expected / (self._queue.waiting + self._queue.at_model + 1)
        over = expected + each * self._promises.outstanding(now) - self._served_s
        if over > 0:
            error = Overloaded(
                "more profiles are waited for than can be generated in the time that one may take"
            )
            error.retry_after = self._promises.give(key, now, over)
            self._metrics.admissions.labels("refused").inc()
            raise error

    def _follow(self, key: Hashable, job: Job) -> None:
        """Has a profile made behind an answer, if it can be done before it is forgotten."""
        shared = self._shared.get(key)
        if shared is not None:
            shared.wanted = True
            return
        expected = self._queue.expected_in_background_s()
        if expected is None or expected > self._served_s:
            return
        ticket = Ticket(background=True)
        try:
            shared = self._begin(key, replace(job, ticket=ticket), share=True)
        except Overloaded:
            self._metrics.admissions.labels("not followed").inc()
            return
        shared.wanted = True

    def _begin(self, key: Hashable, job: Job, *, share: bool = False) -> _Shared:
        limit = self._max_waiting
        if share or job.ticket.background:
            limit = background_share(limit)
        task = self._single_flight.join(key, lambda: self._make(job), limit=limit)
        shared = self._shared[key] = _Shared(task, job.ticket)
        self._queue.expect(job.ticket)
        self._neighbours.came(job.request.key.tenant, background=job.ticket.background)

        def ended(_: object) -> None:
            self._queue.forget(job.ticket)
            del self._shared[key]

        task.add_done_callback(ended)
        return shared

    async def _wait(
        self, shared: _Shared, until: float | None, gone: Gone | None
    ) -> ProfileAnswer | None:
        """Waits for a generation as one of its callers."""
        shared.callers += 1
        leaving = None if gone is None else asyncio.ensure_future(gone())
        try:
            timeout = None if until is None else until - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(
                {shared.task} if leaving is None else {shared.task, leaving},
                timeout=timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if shared.task in done:
                return shared.task.result()
            if not done:
                shared.wanted = True
                return None
            raise CallerGone("the caller closed the connection")
        finally:
            if leaving is not None:
                leaving.cancel()
            shared.callers -= 1
            if not shared.callers:
                self._left_alone(shared)

    def _left_alone(self, shared: _Shared) -> None:
        """Puts a generation behind that nobody waits for, or ends it if nobody wants it."""
        if shared.task.done():
            return
        if shared.wanted or shared.ticket.at_model:
            self._queue.demote(shared.ticket)
        else:
            shared.task.cancel()
