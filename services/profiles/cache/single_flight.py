"""Single-flight: any number of concurrent requests for one missing profile make one generation.

Within a process, callers share a task. Between processes and hosts, the tasks compete for a lease
in the store: the leader, which holds it, generates, and the followers wait for the result. A leader
that dies stops renewing its lease, and a follower takes its place. Leading is in `production`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from services.profiles.errors import Overloaded, StoreUnavailable
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterator

    from services.profiles.stores.base import Lease, ProfileStore

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """The tasks under way in this process, by key.

    A task does not belong to a caller: it continues when all callers are cancelled, so that the
    work of the model is not lost.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    def join(
        self, key: Hashable, begin: Callable[[], Coroutine[object, object, T]], *, limit: int
    ) -> asyncio.Task[T]:
        """Returns the task for a key; starts one if there is none.

        Args:
            key: Identifies the task.
            begin: Returns the coroutine to run.
            limit: Most tasks at a time.

        Raises:
            Overloaded: A task would have to be started, and there are `limit` tasks.
        """
        task = self._tasks.get(key)
        if task is None:
            if len(self._tasks) >= limit:
                raise Overloaded(
                    f"{len(self._tasks)} profiles are being generated or wait for it already"
                )
            task = asyncio.create_task(begin())
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._remove(key, done))
        return task

    def _remove(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            # Marks the exception as read: asyncio reports it otherwise when no caller is left.
            task.exception()

    async def drain(self, timeout_s: float) -> None:
        """Waits for all tasks, and cancels those that are late."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


class Leases:
    """Keeps the leases of this process alive, all in one round trip.

    Args:
        store: Where they are.
        every_s: How often they are renewed.
    """

    def __init__(self, store: ProfileStore, *, every_s: float) -> None:
        self._store = store
        self._every_s = every_s
        self._held: dict[bytes, Lease] = {}
        self._task: asyncio.Task[None] | None = None
        self._none_left = asyncio.Event()

    @contextlib.contextmanager
    def kept(self, lease: Lease) -> Iterator[None]:
        """Keeps a lease alive while the body runs."""
        self._held[lease.token] = lease
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            self._held.pop(lease.token, None)
            if not self._held:
                self._none_left.set()

    async def drain(self) -> None:
        """Waits until the last renewal is over; called when no lease is kept any more."""
        if self._task is not None:
            await self._task

    async def _renew(self) -> None:
        """Renews until no lease is left.

        It is told to stop, not cancelled: a store's client may lose a cancellation that arrives
        while it waits for a reply (redis-py 8.1 does).
        """
        while self._held:
            self._none_left.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._none_left.wait()
            leases = list(self._held.values())
            try:
                renewed = await self._store.renew(leases)
            except StoreUnavailable as error:
                LOGGER.warning(
                    "leases could not be renewed",
                    extra={"data": {"leases": len(leases), "why": error.detail}},
                )
                continue
            for lease, holds in zip(leases, renewed, strict=True):
                # What it was for goes on, and is stored if nobody overtakes it.
                if not holds and self._held.pop(lease.token, None) is not None:
                    LOGGER.info("a lease was lost: the profile was erased, or this process stalled")
