"""Users' newest interactions in the memory of this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.profiles.domain.profile import ProfileKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.profiles.stores.base import Event
    from services.profiles.stores.memory.erasures import MemoryErasures
    from services.profiles.stores.memory.profiles import MemoryProfiles


class MemoryInteractions:
    """Interactions in a dictionary; nothing outlives the process.

    Args:
        profiles: Tells of erasures since the events arrived.
        erasures: Tells of all erasures.
        cap: Most interactions kept of a user.
        ttl_s: How long a user's interactions are kept after the last was added.
        clock: Returns seconds, as `time.monotonic` does.
    """

    def __init__(
        self,
        *,
        profiles: MemoryProfiles,
        erasures: MemoryErasures,
        cap: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._profiles = profiles
        self._erasures = erasures
        self._cap = cap
        self._ttl_s = ttl_s
        self._clock = clock
        self._events: dict[tuple[str, str], set[Event]] = {}
        self._until: dict[tuple[str, str], float] = {}

    async def append(
        self, tenant: str, events: Sequence[Event], *, epochs: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Adds events; one that is there already changes nothing."""
        taken: dict[str, int] = {}
        names = {event.user_id: ProfileKey(tenant, "user", event.user_id) for event in events}
        now = dict(zip(names, await self._profiles.epochs(list(names.values())), strict=True))
        seen = epochs or {}
        for event in events:
            epoch = now[event.user_id]
            (erased_at,) = await self._erasures.erased_at(tenant, [event.user_id])
            if event.at_ms <= (erased_at or -1) or seen.get(event.user_id, epoch) != epoch:
                continue
            taken[event.user_id] = taken.get(event.user_id, 0) + 1
            user = tenant, event.user_id
            self._expire(user)
            kept = self._events.setdefault(user, set())
            kept.add(event)
            kept.intersection_update(sorted(kept, key=_order)[-self._cap :])
            self._until[user] = self._clock() + self._ttl_s
        return taken

    async def history(self, tenant: str, user_id: str, *, limit: int) -> list[str]:
        """Returns the item ids of the newest events, oldest first."""
        return [event.item_id for event in await self.events(tenant, user_id, limit=limit)]

    async def events(self, tenant: str, user_id: str, *, limit: int) -> list[Event]:
        """Returns the newest events, oldest first."""
        self._expire((tenant, user_id))
        return sorted(self._events.get((tenant, user_id), ()), key=_order)[-limit:]

    def drop(self, tenant: str, user_id: str) -> None:
        """Erases a user's interactions."""
        self._events.pop((tenant, user_id), None)
        self._until.pop((tenant, user_id), None)

    def _expire(self, user: tuple[str, str]) -> None:
        if self._until.get(user, float("inf")) <= self._clock():
            self.drop(*user)


def _order(event: Event) -> tuple[int, bytes]:
    return event.at_ms, event.item_id.encode()
