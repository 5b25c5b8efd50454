"""Single-flight: any number of concurrent requests for one missing profile make one generation.

Within a process, callers share a task. Between processes and hosts, the tasks compete for a lease
in the store: the leader, which holds it, generates, and the followers wait for the result. A leader
that dies stops renewing its lease, and a follower takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Generic, TypeVar

from services.profiles.errors import Overloaded, StoreUnavailable
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Hashable

    from services.profiles.domain.profile import ProfileKey
    from services.profiles.stores.base import Claim, Lease, ProfileStore

T = TypeVar("T")

_POLL_S = 0.03


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


async def compete(
    store: ProfileStore, key: ProfileKey, good: Callable[[bytes | None], bool]
) -> Claim:
    """Waits until this process has the lease for a key, or another process has a result.

    Args:
        store: Holds the leases.
        key: The profile to generate.
        good: Returns whether a stored value is the result that is waited for.

    Returns:
        A claim with the lease, or a claim without it whose value is good or whose failure is set.

    Raises:
        StoreUnavailable: As the store does.
    """
    while True:
        claim = await store.acquire(key)
        if claim.lease is not None:
            if not good(claim.value):
                return claim
            # Another leader committed between the first read and this claim.
            await store.give_up(claim.lease)
            return type(claim)(None, claim.value)
        if claim.failure is not None or good(claim.value):
            return claim
        await asyncio.sleep(_POLL_S * random.uniform(0.7, 1.3))  # noqa: S311 - jitter


@contextlib.asynccontextmanager
async def renewed(store: ProfileStore, lease: Lease, every_s: float) -> AsyncIterator[None]:
    """Keeps a lease alive while the body runs.

    At its end the renewing task is told to stop, not cancelled: a store's client may lose a
    cancellation that arrives while it waits for a reply (redis-py 8.1 does). The task would then
    renew the lease for ever.
    """
    done = asyncio.Event()
    task = asyncio.create_task(_renew(store, lease, every_s, done))
    try:
        yield
    finally:
        done.set()
        await task


async def _renew(store: ProfileStore, lease: Lease, every_s: float, done: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await done.wait()
        if done.is_set():
            return
        try:
            if not await store.renew(lease):
                LOGGER.info("a lease was lost: the profile was erased, or this process stalled")
                return
        except StoreUnavailable as error:
            LOGGER.warning("a lease could not be renewed", extra={"data": {"why": error.detail}})
