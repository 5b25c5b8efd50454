"""The queue of refreshes in the memory of this process."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.profiles.stores.base import DeadLetter, Refresh, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEAD_LETTERS = 1_000
"""Most dead letters kept; the oldest go first."""


@dataclass(slots=True)
class _Pending:
    """A refresh under way. `since`: when its worker last called `take`."""

    user_id: str
    since: float


@dataclass(slots=True)
class _Queue:
    """The queue of one tenant; all but `pending` and `letters` is by user id.

    Attributes:
        due: When the refresh is due.
        first: When the burst of events began.
        tries: Tries since the last success.
        entries: The entry that is under way.
    """

    due: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    entries: dict[str, bytes] = field(default_factory=dict)
    pending: dict[bytes, _Pending] = field(default_factory=dict)
    letters: deque[DeadLetter] = field(default_factory=lambda: deque(maxlen=_DEAD_LETTERS))

    def in_order(self) -> list[str]:
        """Returns the users that wait, the one that is due longest first."""
        return sorted(self.due, key=lambda user: (self.due[user], user.encode()))

    def end(self, refresh: Refresh) -> bool:
        """Ends what is under way. False when it was ended already, or its user was erased."""
        if self.entries.get(refresh.user_id) == refresh.entry:
            del self.entries[refresh.user_id]
        return self.pending.pop(refresh.entry, None) is not None


class MemoryRefreshes:
    """A queue for the tasks of this process; nothing outlives the process.

    Args:
        quiet_s: A refresh is due so long after the last event of its user,
        max_wait_s: and at the latest so long after the first.
        lease_s: How soon another worker gets the refreshes of one that died.
        clock: Returns seconds, as `time.monotonic` does.
    """

    def __init__(
        self,
        *,
        quiet_s: float,
        max_wait_s: float,
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet_s = quiet_s
        self._max_wait_s = max_wait_s
        self._lease_s = lease_s
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._numbers = itertools.count(1)

    async def schedule(self, tenant: str, user_ids: Sequence[str]) -> None:
        """Puts users into the queue, or puts off those that are there."""
        queue, now = self._queue(tenant), self._clock()
        for user in user_ids:
            first = queue.first.setdefault(user, now)
            due = min(now + self._quiet_s, first + self._max_wait_s)
            if user in queue.tries:  # events do not shorten the pause after a failure
                due = max(due, queue.due.get(user, due))
            queue.due[user] = due

    async def take(
        self,
        tenant: str,
        worker: str,  # noqa: ARG002 - no worker outlives another here: nobody asks whose entry it is
        *,
        most: int,
        holding: Sequence[Refresh],
    ) -> Taken:
        """Renews, claims what was not renewed, and takes what is due."""
        queue, now = self._queue(tenant), self._clock()
        for refresh in holding:
            if refresh.entry in queue.pending:
                queue.pending[refresh.entry].since = now
        lost = [entry for entry, one in queue.pending.items() if now - one.since >= self._lease_s][
            :most
        ]
        taken = [self._begin(queue, entry) for entry in lost]
        waiting = queue.in_order()
        lag_s = max(0.0, now - queue.due[waiting[0]]) if waiting else 0.0
        due = [user for user in waiting if queue.due[user] <= now]
        for user in due[: most - len(taken)]:
            if user in queue.entries:
                queue.due[user] = now + self._quiet_s
                continue
            del queue.due[user]
            queue.first.pop(user, None)
            entry = b"%d" % next(self._numbers)
            queue.pending[entry] = _Pending(user, now)
            queue.entries[user] = entry
            taken.append(self._begin(queue, entry))
        return Taken(tuple(taken), len(queue.due) + len(queue.pending), lag_s)

    async def done(self, tenant: str, refresh: Refresh) -> None:
        """Ends a refresh."""
        queue = self._queue(tenant)
        if queue.end(refresh):
            queue.tries.pop(refresh.user_id, None)

    async def later(self, tenant: str, refresh: Refresh, *, pause_s: float, counts: bool) -> None:
        """Puts a user back into the queue."""
        queue = self._queue(tenant)
        if not queue.end(refresh):
            return
        if not counts:
            queue.tries[refresh.user_id] -= 1
        due = self._clock() + pause_s
        queue.due[refresh.user_id] = max(due, queue.due.get(refresh.user_id, due))

    async def dead_letter(self, tenant: str, refresh: Refresh, reason: str) -> None:
        """Keeps a dead letter."""
        queue = self._queue(tenant)
        if queue.end(refresh):
            tries = queue.tries.pop(refresh.user_id, 0)
            queue.letters.append(DeadLetter(refresh.user_id, reason, tries))

    async def dead_letters(self, tenant: str) -> list[DeadLetter]:
        """Returns the dead letters."""
        return list(self._queue(tenant).letters)

    async def leave(self, tenant: str, worker: str) -> None:
        """Does nothing: no list of workers is kept."""

    def drop(self, tenant: str, user_id: str) -> None:
        """Erases a user from the queue, with what is under way and the dead letters."""
        queue = self._queue(tenant)
        for by_user in (queue.due, queue.first, queue.tries):
            by_user.pop(user_id, None)
        if (entry := queue.entries.pop(user_id, None)) is not None:
            queue.pending.pop(entry, None)
        kept = [letter for letter in queue.letters if letter.user_id != user_id]
        queue.letters.clear()
        queue.letters.extend(kept)

    def _queue(self, tenant: str) -> _Queue:
        return self._queues.setdefault(tenant, _Queue())

    def _begin(self, queue: _Queue, entry: bytes) -> Refresh:
        pending = queue.pending[entry]
        pending.since = self._clock()
        tries = queue.tries[pending.user_id] = queue.tries.get(pending.user_id, 0) + 1
        return Refresh(entry, pending.user_id, tries)
