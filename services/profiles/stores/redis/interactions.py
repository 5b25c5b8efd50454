"""Each user's newest interactions in Redis.

A sorted set whose members are a time and an item id, all with the same score. Redis keeps them in
order of their bytes, which is the order of time. The same event is the same member, so that
sending it twice changes nothing. The oldest has the lowest rank. Why not a list, and what this
costs: docs/decisions/0008-interactions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.base import Event
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.stores.redis.client import RedisClient

_TIME_BYTES = 6
"""Unix milliseconds, big-endian: until the year 10889."""

# KEYS: one for each user. ARGV: cap, time to live in ms, then for each user the number of members
# and the members. They are added one by one: a set that once grew past what Redis packs is never
# packed again.
_APPEND = """
local cap, ttl, at = tonumber(ARGV[1]), ARGV[2], 3
for _, key in ipairs(KEYS) do
  local last = at + tonumber(ARGV[at])
  while at < last do
    at = at + 1
    redis.call('ZADD', key, 0, ARGV[at])
    redis.call('ZREMRANGEBYRANK', key, 0, -cap - 1)
  end
  at = at + 1
  redis.call('PEXPIRE', key, ttl)
end
"""


class RedisInteractions:
    """Interactions in one Redis server.

    Args:
        client: Shared with the other stores, closed by its owner.
        cap: Most interactions kept of a user.
        ttl_s: How long a user's interactions are kept after the last was added.
    """

    def __init__(self, client: RedisClient, *, cap: int, ttl_s: int) -> None:
        self._client = client
        self._cap = cap
        self._ttl_ms = ttl_s * 1000

    async def append(self, tenant: str, events: Sequence[Event]) -> None:
        """Adds events in one round trip."""
        if not events:
            return
        members: dict[str, list[bytes]] = {}
        for event in events:
            members.setdefault(event.user_id, []).append(_member(event))
        rows: list[bytes | int] = []
        for of_user in members.values():
            rows += [len(of_user), *of_user]
        names = [keys.interactions(tenant, user_id) for user_id in members]
        await self._client.run(_APPEND, names, self._cap, self._ttl_ms, *rows)

    async def history(self, tenant: str, user_id: str, *, limit: int) -> list[str]:
        """Returns the item ids of the newest events, oldest first."""
        members = await self._newest(tenant, user_id, limit)
        return [member[_TIME_BYTES:].decode() for member in members]

    async def events(self, tenant: str, user_id: str, *, limit: int) -> list[Event]:
        """Returns the newest events, oldest first."""
        return [
            Event(user_id, member[_TIME_BYTES:].decode(), int.from_bytes(member[:_TIME_BYTES]))
            for member in await self._newest(tenant, user_id, limit)
        ]

    async def _newest(self, tenant: str, user_id: str, limit: int) -> list[bytes]:
        members: list[bytes] = await self._client.call(
            "ZRANGE", keys.interactions(tenant, user_id), -limit, -1
        )
        return members


def _member(event: Event) -> bytes:
    return event.at_ms.to_bytes(_TIME_BYTES) + event.item_id.encode()
