"""Finds out how many requests should be in flight, and adapts when that number changes.

A model server that batches does more with more requests at a time, up to a point; beyond it,
requests only wait for each other. Where that point lies depends on the model, the machine and the
prompts, and online traffic moves it. So the limit climbs a ladder of levels while throughput grows,
stays at the lowest level whose throughput is near the best, and tries the neighbouring levels from
time to time. It decreases multiplicatively when requests are refused, or when the throughput of the
same level suddenly drops: then other clients are asking, and they have priority. While the service
says that people wait for its model, a few requests are in flight, and no measurement counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_LEAST_WINDOW = 16
_WORTH = 1.04
"""The throughput of a level over that of the one below it, from which on climbing goes on."""
_NEAR = 0.98
"""The share of the best throughput from which on a lower level is preferred."""
_LOOK_EVERY = 5
"""Windows at one level before a neighbouring level is tried."""
_RECENT = 2
"""Windows for which a rate is averaged with a new one of the same level."""
_FADING = 0.996
"""The decay of a rate per window; otherwise one lucky measurement would count for ever."""
_BACK = 0.7
_LESS = 0.7
_MORE = 1.5
_BESIDE_OTHERS = 4
"""Requests in flight while people wait: the service lets them in one by one, when nobody is there."""
_CEILING_WINDOWS = 6
"""Windows without a refusal after which the ceiling rises by one."""

_uniform = random.SystemRandom().random
"""Jitter from the system: jobs on several machines that shared a seed would come back together."""


@dataclass(slots=True)
class _Rate:
    """Answers per second at a level, and the window in which that was measured last."""

    value: float
    seen: int


@dataclass(slots=True)
class _Window:
    """What was counted at one level: answers, their total seconds, the start of the window."""

    since: float | None = None
    skipped: int = 0
    answers: int = 0
    full: int = 0
    seconds: float = 0.0


class Limit:
    """Decides on the number of requests in flight. No I/O; callers pass the time.

    Args:
        start: The first limit.
        lowest: Never fewer.
        highest: Never more.
    """

    def __init__(self, *, start: int = 16, lowest: int = 1, highest: int = 256) -> None:
        self._lowest = lowest
        self._highest = highest
        self._limit = float(min(max(start, lowest), highest))
        self._ceiling = float(highest)
        self._calm = 0
        self._climbing = True
        self._rest = 0
        self._upwards = True
        self._rates: dict[int, _Rate] = {}
        self._windows = 0
        self._latency: float | None = None
        self._home: int | None = None
        self._window = _Window()
        self._lowered_at = float("-inf")
        self._beside = False

    @property
    def current(self) -> int:
        """How many requests may be in flight now."""
        return (
            min(int(self._limit), max(self._lowest, _BESIDE_OTHERS))
            if self._beside
            else int(self._limit)
        )

    def online(self, wait_s: float) -> None:
        """Records what the service says of those who are not in the background.

        Args:
            wait_s: What they have waited of late; 0 when there are none.
        """
        if self._beside != (wait_s > 0):
            self._beside = wait_s > 0
            self._window = _Window()

    def answered(self, seconds: float, now: float, under_way: int) -> None:
        """Records an answer that the model generated.

        Args:
            seconds: Its latency.
            now: The time, on any clock.
            under_way: Requests that were in flight, this one included.
        """
        window = self._window
        if self._beside:
            return
        # Requests that started at another level say nothing about this one.
        if window.skipped < self.current:
            window.skipped += 1
            window.since = now
            return
        window.answers += 1
        window.seconds += seconds
        window.full += under_way >= 0.8 * self.current
        if window.answers < max(2 * self.current, _LEAST_WINDOW):
            return
        since = now if window.since is None else window.since
        rate = window.answers / max(now - since, 1e-9)
        latency = window.seconds / window.answers
        was_full = window.full >= 0.7 * window.answers
        self._window = _Window(since=now, skipped=self.current)
        self._calm += 1
        if self._calm % _CEILING_WINDOWS == 0:
            self._ceiling = min(self._ceiling + 1, self._highest)
        if was_full:
            self._decide(self.current, rate, latency)

    def pushed_back(self, now: float, begun: float) -> None:
        """Records that a request was refused for now.

        Args:
            now: The time.
            begun: When the request was sent. Those of one burst lower the limit once.
        """
        if begun < self._lowered_at:
            return
        self._lowered_at = now
        self._calm = 0
        self._climbing = False
        self._ceiling = max(self._lowest, 0.95 * self._limit)
        self._rates.clear()
        self._latency = None
        self._home = None
        self._move(self._limit * _BACK)

    def _decide(self, level: int, rate: float, latency: float) -> None:
        self._windows += 1
        before = self._rates.get(level)
        if before is not None and level == self._home:
            slower = self._latency is not None and latency > self._latency / _LESS
            if rate < _LESS * before.value and slower:
                self._forget()
                self._move(self._limit * _BACK)
                return
            if rate > _MORE * before.value:
                self._forget()
                self._climbing = True
                before = None
        if before is not None and self._windows - before.seen <= _RECENT:
            rate = (before.value + rate) / 2
        self._rates[level] = _Rate(rate, self._windows)
        if level == self._home:
            self._latency = latency
        if self._climbing:
            self._climb(level)
        else:
            self._settle()

    def _climb(self, level: int) -> None:
        lower = [rate.value for other, rate in self._rates.items() if other < level]
        worth = not lower or self._rates[level].value > _WORTH * max(lower)
        if worth and level < self._top():
            # Two rungs at a time: a doubling, until that is not worth it.
            self._move(self._rung(level, 2))
            return
        self._climbing = False
        self._settle()

    def _settle(self) -> None:
        rates = {
            level: rate.value * _FADING ** (self._windows - rate.seen)
            for level, rate in self._rates.items()
        }
        best = max(rates.values())
        home = min(level for level, rate in rates.items() if rate >= _NEAR * best)
        if home != self._home:
            higher = self._home is not None and home > self._home
            # What was better than expected may be better still further up.
            self._rest = _LOOK_EVERY - 1 if higher else 0
            self._upwards = not higher
            self._home = home
            self._latency = None
        self._rest += 1
        if self.current == home and self._rest >= _LOOK_EVERY:
            self._rest = 0
            self._upwards = not self._upwards
            self._move(self._rung(home, 1 if self._upwards else -1))
        else:
            self._move(home)

    def _forget(self) -> None:
        self._rates.clear()
        self._latency = None
        self._home = None

    def _rung(self, level: int, steps: int) -> float:
        """Returns the level so many rungs further up or down the ladder."""
        if steps > 0:
            above = [rung for rung in _LADDER if rung > level]
            return above[min(steps, len(above)) - 1] if above else level
        below = [rung for rung in _LADDER if rung < level]
        return below[steps] if below else level

    def _top(self) -> int:
        return int(min(self._ceiling, self._highest))

    def _move(self, level: float) -> None:
        level = max(float(self._lowest), min(level, self._ceiling, float(self._highest)))
        if int(level) != self.current:
            self._window = _Window()
        self._limit = level


class Slot:
    """Permission for one request; its holder reports how the request ended."""

    def __init__(self, limiter: ConcurrencyLimiter, begun: float) -> None:
        self._limiter = limiter
        self._begun = begun

    def told(self, online_wait_s: float) -> None:
        """Reports what the service said of those who wait for it: see `Limit.online`."""
        self._limiter._told(online_wait_s)  # noqa: SLF001 - one thing in two classes

    def answered(self, *, cheap: bool) -> None:
        """Reports an answer; a cheap one came without the model, and says nothing about its speed."""
        self._limiter._answered(self._begun, cheap=cheap)  # noqa: SLF001

    def pushed_back(self, retry_after_s: float) -> None:
        """Reports a refusal, and how long to wait at least before the next request."""
        self._limiter._pushed_back(self._begun, retry_after_s)  # noqa: SLF001


class ConcurrencyLimiter:
    """Limits the requests in flight; the request that waits longest goes first.

    After a refusal no request starts for the time that was asked for, plus a uniformly random pause
    up to a bound. The bound doubles with each refusal until there is an answer.

    Args:
        limit: Decides.
        shortest_pause_s: The first bound.
        longest_pause_s: The last one.
        uniform: Draws from 0 to 1.
        clock: Seconds.
    """

    def __init__(
        self,
        limit: Limit,
        *,
        shortest_pause_s: float = 0.25,
        longest_pause_s: float = 10.0,
        uniform: Callable[[], float] = _uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._shortest_pause_s = shortest_pause_s
        self._longest_pause_s = longest_pause_s
        self._uniform = uniform
        self._clock = clock
        self._pause_s = shortest_pause_s
        self._closed_until = float("-inf")
        self._paused_at = float("-inf")
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return self._limit.current

    @property
    def under_way(self) -> int:
        """How many requests are in flight now."""
        return self._under_way

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Waits for permission, and holds it while the body runs."""
        await self._enter()
        try:
            yield Slot(self, self._clock())
        finally:
            self._under_way -= 1
            self._let_in()

    async def _enter(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._under_way -= 1
                self._let_in()
            raise

    def _let_in(self) -> None:
        wait = self._closed_until - self._clock()
        if wait > 0:
            if self._timer is None and self._waiting:
                self._timer = asyncio.get_running_loop().call_later(wait, self._opened)
            return
        while self._waiting and self._under_way < self._limit.current:
            turn = self._waiting.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)

    def _opened(self) -> None:
        self._timer = None
        self._let_in()

    def _told(self, online_wait_s: float) -> None:
        self._limit.online(online_wait_s)
        self._let_in()

    def _answered(self, begun: float, *, cheap: bool) -> None:
        self._pause_s = self._shortest_pause_s
        if not cheap:
            now = self._clock()
            self._limit.answered(now - begun, now, self._under_way)

    def _pushed_back(self, begun: float, retry_after_s: float) -> None:
        now = self._clock()
        self._limit.pushed_back(now, begun)
        pause = retry_after_s
        if begun >= self._paused_at:
            self._paused_at = now
            pause += self._pause_s * self._uniform()
            self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
        self._closed_until = max(self._closed_until, now + pause)
