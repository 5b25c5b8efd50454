"""Refreshes the profiles of users who did something, behind the answer to the call that told it.

Every worker of the service runs one `Refresher`. A refresh goes through the service like any
request in the background, so that whoever waits for a profile goes first, and is acknowledged
only when the profile is stored: a worker that dies leaves its refreshes to the others.
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
    ReclmError,
    StoreUnavailable,
)
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from services.profiles.cache.service import ProfileAnswer, ProfileService
    from services.profiles.stores.base import Interactions, Refresh, Refreshes
    from services.profiles.telemetry import Metrics

Outcome = Literal["refreshed", "unchanged", "erased"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 600.0


class _Bug(ReclmError):
    """Stands for an exception that nobody expected."""


class Refresher:
    """Takes refreshes from the queue and makes the profiles.

    Args:
        profiles: What makes them.
        worker: A name that no other worker has.
        history_limit: Most interactions that a profile is made from.
        concurrency: Most refreshes of this worker at a time.
        attempts: Tries after which a refresh is given up.
        poll_s: How often the queue is looked at, and what is under way renewed: well within the
            queue's lease.
        first_pause_s: How long a refresh waits after its first failure; each further one doubles
            it, to ten minutes at most. Longer than a store tells of a failed generation, or the
            next try would only hear of the one before.
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
        """Begins to take refreshes, until `drain`."""
        self._loop = asyncio.create_task(self._run())

    async def drain(self, timeout_s: float) -> None:
        """Takes no more, lets what is under way finish, and leaves the rest to other workers."""
        if self._loop is None:
            return
        self._stopping = True
        self._wake.set()
        done, _ = await asyncio.wait({self._loop}, timeout=timeout_s)
        # The loop is not cancelled: it ends by itself when it has nothing under way. And once is not
        # enough, since a store's client may lose a cancellation (see `flights.renewed`).
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
                if answered:  # said once, and not twice a second for as long as it lasts
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
        """Begins what is due, as far as there is room: whatever ends wakes the loop for more."""
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
        """Makes one profile, and tells the queue what came of it."""
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
            # Still pending: taken up again when the store answers and the lease is over.
            LOGGER.warning("a refresh is left pending", extra={"data": {"why": error.detail}})

    async def _refresh(self, refresh: Refresh) -> Outcome:
        key = ProfileKey(self._tenant, "user", refresh.user_id)
        history = await self._history(key, limit=self._history_limit)
        if not history:
            return "erased"
        request = ProfileRequest(key, tuple(history), background=True, stored=True, fallback=False)
        try:
            answer = await self._profiles.profile(request)
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
        """Looks whether a profile is stored, and whether its user is still there.

        Raises:
            StoreUnavailable: It is not stored.
        """
        if not await self._history(key, limit=1):
            return "erased"
        (stored,) = await self._profiles.embeddings([key])
        if stored is None or stored.created_ms < answer.stored.created_ms:
            raise StoreUnavailable("the profile was made, and could not be stored")
        return "refreshed"

    async def _failed(self, refresh: Refresh, error: ReclmError) -> None:
        """Has a refresh tried again later, unless that is of no use."""
        # The service has others to serve first: no failure of this refresh.
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
