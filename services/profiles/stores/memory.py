"""A store inside the process: for unit tests of what stands on a store."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from services.profiles.stores.base import Claim, Event, ItemPage, Lease
from services.profiles.stores.search import from_cursor, matches, terms, to_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import Item, ProfileKey, ProfileVersion

_FAILURE_S = 0.5


class MemoryProfiles:
    """Keeps profiles in a dictionary; nothing outlives the process."""

    def __init__(self, *, lease_s: float = 4.0) -> None:
        self._lease_s = lease_s
        self._values: dict[ProfileKey, tuple[bytes, float]] = {}
        self._leases: dict[ProfileKey, tuple[bytes, float]] = {}
        self._versions: dict[bytes, bytes] = {}

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns a stored value."""
        value, until = self._values.get(key, (None, 0.0))
        return value if until > time.monotonic() else None

    async def get_many(self, keys: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in order."""
        return [await self.get(key) for key in keys]

    async def delete(self, key: ProfileKey) -> bool:
        """Erases value and lease."""
        self._leases.pop(key, None)
        return self._values.pop(key, None) is not None

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease unless somebody holds it."""
        value = await self.get(key)
        held, until = self._leases.get(key, (b"", 0.0))
        if until > time.monotonic():
            return Claim(None, value, held[1:].decode() if held.startswith(b"!") else None)
        token = secrets.token_hex(8).encode()
        self._leases[key] = (token, time.monotonic() + self._lease_s)
        return Claim(Lease(key, token), value)

    async def renew(self, lease: Lease) -> bool:
        """Extends a lease that is still held."""
        if not self._holds(lease):
            return False
        self._leases[lease.key] = (lease.token, time.monotonic() + self._lease_s)
        return True

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> bool:
        """Stores under a lease that is still held."""
        if not self._holds(lease):
            return False
        self._versions[version.digest()] = version.to_json()
        self._values[lease.key] = (value, time.monotonic() + ttl_s)
        del self._leases[lease.key]
        return True

    async def give_up(self, lease: Lease, failure: str | None = None) -> None:
        """Ends the lease; a failure stands in its place for a moment."""
        if not self._holds(lease):
            return
        if failure is None:
            del self._leases[lease.key]
        else:
            self._leases[lease.key] = (b"!" + failure.encode(), time.monotonic() + _FAILURE_S)

    def _holds(self, lease: Lease) -> bool:
        token, until = self._leases.get(lease.key, (b"", 0.0))
        return token == lease.token and until > time.monotonic()

    async def get_version(self, digest: bytes) -> bytes | None:
        """Returns a version."""
        return self._versions.get(digest)

    async def ping(self) -> None:
        """Always there."""


class MemoryInteractions:
    """Keeps interactions in a dictionary; nothing outlives the process."""

    def __init__(self, *, cap: int = 100) -> None:
        self._cap = cap
        self._events: dict[tuple[str, str], set[Event]] = {}

    async def append(self, tenant: str, events: Sequence[Event]) -> None:
        """Adds events; one that is there already changes nothing."""
        for event in events:
            kept = self._events.setdefault((tenant, event.user_id), set())
            kept.add(event)
            kept.intersection_update(sorted(kept, key=_order)[-self._cap :])

    async def history(self, tenant: str, user_id: str, *, limit: int) -> list[str]:
        """Returns the item ids of the newest events, oldest first."""
        return [event.item_id for event in await self.events(tenant, user_id, limit=limit)]

    async def events(self, tenant: str, user_id: str, *, limit: int) -> list[Event]:
        """Returns the newest events, oldest first."""
        return sorted(self._events.get((tenant, user_id), ()), key=_order)[-limit:]

    async def erase(self, tenant: str, user_id: str) -> None:
        """Erases a user's interactions."""
        self._events.pop((tenant, user_id), None)


def _order(event: Event) -> tuple[int, bytes]:
    return event.at_ms, event.item_id.encode()


class MemoryCatalogue:
    """Keeps items in a dictionary; nothing outlives the process."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Item] = {}

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns items in order."""
        return [self._items.get((tenant, id_)) for id_ in ids]

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces items."""
        self._items.update({(tenant, item.id): item for item in items})

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item."""
        return self._items.pop((tenant, id), None) is not None

    async def list_items(
        self, tenant: str, *, query: str, cursor: str | None, limit: int
    ) -> ItemPage:
        """Lists or searches, in order of id."""
        after = from_cursor(cursor).decode(errors="replace") if cursor else ""
        wanted = terms(query)
        found = sorted(
            (
                item
                for (owner, id_), item in self._items.items()
                if owner == tenant and id_ > after and matches(item.title, wanted)
            ),
            key=lambda item: item.id.encode(),
        )
        more = len(found) > limit
        return ItemPage(
            tuple(found[:limit]), to_cursor(found[limit - 1].id.encode()) if more else None
        )
