"""What the processes of a service tell each other: that somebody waits for the model.

A prompt in the background that runs in one process makes a caller of another process wait. So each
process says when somebody waits, and each that has something in the background looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from services.profiles.errors import StoreUnavailable
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.profiles.cache.model_queue import ModelQueue
    from services.profiles.stores.base import Presence

_EVERY_S = 0.1


class Neighbours:
    """Speaks and listens for one queue, as long as there is a reason to."""

    def __init__(self, presence: Presence, queue: ModelQueue) -> None:
        self._presence = presence
        self._queue = queue
        self._speaking: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def came(self, tenant: str, *, background: bool) -> None:
        """Notes that something of a tenant waits for the model in this process."""
        if background and (self._listening is None or self._listening.done()):
            self._listening = asyncio.create_task(
                self._repeat(lambda: self._listen(tenant), lambda: self._queue.busy_in_background)
            )
        if not background and (self._speaking is None or self._speaking.done()):
            self._speaking = asyncio.create_task(
                self._repeat(
                    lambda: self._presence.here(tenant), lambda: self._queue.online_present
                )
            )

    async def drain(self) -> None:
        """Ends both. They are told to, not cancelled: a store's client may lose a cancellation."""
        self._stopping.set()
        tasks = [task for task in (self._speaking, self._listening) if task is not None]
        await asyncio.gather(*tasks)
        self._stopping.clear()

    async def _repeat(self, act: Callable[[], Awaitable[None]], wanted: Callable[[], bool]) -> None:
        answered = True
        while not self._stopping.is_set():
            try:
                await act()
                answered = True
            except StoreUnavailable as error:
                if answered:  # logged once for each outage
                    LOGGER.warning(
                        "neighbours are not heard", extra={"data": {"why": error.detail}}
                    )
                answered = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._stopping.wait()
            if not wanted():
                return

    async def _listen(self, tenant: str) -> None:
        quiet = await self._presence.quiet_s(tenant)
        if quiet < math.inf:
            self._queue.somebody_came(ago_s=quiet)
