"""Refreshes the profiles of users with new interactions, in the background.

Every worker process of the service runs one `Refresher`. A refresh is a request in the background:
requests of callers go first. It is acknowledged only when the profile is stored, so that another
worker takes over the refreshes of one that dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Literal

from services.profiles.domain.profile import ProfileKey
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import (
    InvalidInput,
    NothingToRead,
    Overloaded,
    ProfileErased,
    ReclmError,
    StoreUnavailable,
)
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from services.profiles.cache.answer import ProfileAnswer
    from services.profiles.cache.service import ProfileService
    from services.profiles.stores.base import Interactions, Refresh, Refreshes
    from services.profiles.telemetry import Metrics

Outcome = Literal["refreshed", "unchanged", "erased"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 600.0


class _Bug(ReclmError):
    """An unexpected exception."""


class Refresher:
    """Takes refreshes from the queue and generates the profiles.

    Args:
        profiles: Generates them.
        worker: A name that no other worker has.
        history_limit: Most interactions that a profile is made from.
        concurrency: Most refreshes of this worker at a time.
        attempts: Tries after which a refresh is given up.
        poll_s: How often the queue is read, and refreshes under way are renewed; much shorter than
            the lease of the queue.
        first_pause_s: How long a refresh waits after its first failure. Each further failure doubles
            the pause, to ten minutes at most. Must be longer than the store keeps the failure of a
            generation, or the next try gets the same failure.
    """

    def __init__(
        self,
        *,
        profiles: ProfileService,
        interactions: Interactions,
        refreshes: Refreshes,
        metrics: Metrics,
        tenant: str,
        worker: str,
        history_limit: int,
        concurrency: int,
        attempts: int,
        poll_s: float,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._profiles = profiles
        self._interactions = interactions
        self._refreshes = refreshes
        self._metrics = metrics
        self._tenant = tenant
        self._worker = worker
        self._history_limit = history_limit
        self._concurrency = concurrency
        self._attempts = attempts
        self._poll_s = poll_s
        self._first_pause_s = first_pause_s
        self._under_way: dict[asyncio.Task[None], Refresh] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to take refreshes, until `drain`."""
        self._loop = asyncio.create_task(self._run())

    async def drain(self, timeout_s: float) -> None:
        """Takes no more refreshes, and lets those under way finish; other workers do the rest."""
        if self._loop is None:
            return
        self._stopping = True
        self._wake.set()
        done, _ = await asyncio.wait({self._loop}, timeout=timeout_s)
        # The loop is not cancelled: it ends when nothing is under way. The tasks are cancelled again
        # and again, since a store's client may lose a cancellation (see `single_flight.renewed`).
        while not done:
            for task in list(self._under_way):
                task.cancel()
            done, _ = await asyncio.wait({self._loop}, timeout=self._poll_s)
        await self._loop
        self._loop = None

    async def _run(self) -> None:
        answered = True
        while not (self._stopping and not self._under_way):
            try:
                await self._take()
            except StoreUnavailable as error:
                if answered:  # logged once for each outage
                    LOGGER.warning("refreshes have to wait", extra={"data": {"why": error.detail}})
                answered = False
            else:
                answered = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            self._wake.clear()
        try:
            await self._refreshes.leave(self._tenant, self._worker)
        except StoreUnavailable as error:
            LOGGER.warning("a worker stays on the list", extra={"data": {"why": error.detail}})

    async def _take(self) -> None:
        """Starts refreshes that are due, up to the limit. A refresh that ends wakes the loop."""
        free = 0 if self._stopping else self._concurrency - len(self._under_way)
        taken = await self._refreshes.take(
            self._tenant, self._worker, most=free, holding=list(self._under_way.values())
        )
        self._metrics.refreshes_waiting.set(taken.waiting)
        self._metrics.refresh_lag.set(taken.lag_s)
        for refresh in taken.refreshes:
            task = asyncio.create_task(self._attend(refresh))
            self._under_way[task] = refresh
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._wake.set()

    async def _attend(self, refresh: Refresh) -> None:
        """Refreshes one profile, and reports the outcome to the queue."""
        try:
            if refresh.tries > self._attempts:
                await self._dead_letter(
                    refresh, "each worker that tried it ended before it was done"
                )
                return
            try:
                outcome = await self._refresh(refresh)
            except ReclmError as error:
                await self._failed(refresh, error)
                return
            except Exception:  # noqa: BLE001 - logged, counted, and tried again
                LOGGER.exception("unexpected error in a refresh")
                await self._failed(refresh, _Bug("an error of this service; see its log"))
                return
            await self._refreshes.done(self._tenant, refresh)
            self._metrics.refreshes.labels(outcome).inc()
        except StoreUnavailable as error:
            # Still pending: taken again when the store answers and the lease has expired.
            LOGGER.warning("a refresh is left pending", extra={"data": {"why": error.detail}})

    async def _refresh(self, refresh: Refresh) -> Outcome:
        key = ProfileKey(self._tenant, "user", refresh.user_id)
        _, epoch = await self._profiles.known(key)
        history = await self._history(key, limit=self._history_limit)
        if not history:
            return "erased"
        request = ProfileRequest(
            key, tuple(history), background=True, stored=True, fallback=False, epoch=epoch
        )
        try:
            answer = await self._profiles.profile(request)
        except ProfileErased:
            return "erased"
        except NothingToRead:
            if await self._history(key, limit=1):
                raise
            return "erased"
        if answer.status != "generated":
            return "unchanged"
        return await self._confirmed(key, answer)

    async def _history(self, key: ProfileKey, *, limit: int) -> list[str]:
        return await self._interactions.history(key.tenant, key.id, limit=limit)

    async def _confirmed(self, key: ProfileKey, answer: ProfileAnswer) -> Outcome:
        """Checks that a profile is stored, and that its user was not erased.

        Raises:
            StoreUnavailable: It is not stored.
        """
        if not await self._history(key, limit=1):
            return "erased"
        (stored,) = await self._profiles.embeddings([key])
        if stored is None or stored.created_ms < answer.stored.created_ms:
            raise StoreUnavailable("the profile was generated, but could not be stored")
        return "refreshed"

    async def _failed(self, refresh: Refresh, error: ReclmError) -> None:
        """Schedules another try of a refresh, or gives it up."""
        # An overloaded service serves others first: that does not count as a failed try.
        counts = not isinstance(error, Overloaded)
        if counts:
            self._metrics.refreshes.labels("failed").inc()
        if isinstance(error, InvalidInput) or (counts and refresh.tries >= self._attempts):
            await self._dead_letter(refresh, f"{error.code}: {error.detail}")
            return
        pause = min(_LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** min(refresh.tries - 1, 32))
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        await self._refreshes.later(self._tenant, refresh, pause_s=pause, counts=counts)

    async def _dead_letter(self, refresh: Refresh, reason: str) -> None:
        await self._refreshes.dead_letter(self._tenant, refresh, reason)
        self._metrics.refreshes.labels("dead").inc()
        LOGGER.error("a refresh was given up", extra={"data": {"why": reason}})
