"""The way of a request before the model: what it costs to read, for how many at a time.

A thousand requests that read the store at the same time wait for each other at every step, are all
ready at the same moment, and find no free connection. A few at a time are as fast together, and the
first of them are done at once. How fast they get through is measured, so that one which would not
even get this far by its deadline is told so before it costs anything.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NEWEST = 0.05
"""The weight of the newest request in the mean time between two that get through."""

_FIRST_S = 0.001
"""What is taken for this time before anything was measured."""


class Front:
    """Lets some requests through at a time, in order of arrival.

    Args:
        slots: How many; fewer than the store has connections.
        clock: Seconds.
    """

    def __init__(self, *, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._waiting = 0
        self._clock = clock
        self._each_s = _FIRST_S
        self._last: float | None = None

    def expected_s(self) -> float:
        """Returns the seconds until a request that came now would be through."""
        return self._waiting * self._each_s

    async def __aenter__(self) -> None:
        """Waits for a place."""
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *exc_info: object) -> None:
        """Gives the place to the next."""
        self._measure()
        self._slots.release()

    def _measure(self) -> None:
        """Measures the time since the last request got through, if others waited all the while."""
        now = self._clock()
        if self._last is not None:
            self._each_s += _NEWEST * (now - self._last - self._each_s)
        self._last = now if self._waiting else None
