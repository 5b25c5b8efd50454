"""Each user's newest interactions in Redis.

A sorted set whose members are a time and an item id, all with the same score. Redis keeps them in
order of their bytes, which is the order of time. The same event is the same member, so that
sending it twice changes nothing. The oldest has the lowest rank. Why not a list, and what this
costs: docs/decisions/0008-interactions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores import codec
from services.profiles.stores.base import Event
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.profiles.stores.redis.client import RedisClient

_TIME_BYTES = 6
"""Unix milliseconds, big-endian: until the year 10889."""

# KEYS: erasures, then two for each user: interactions, profile. ARGV: cap, time to live in ms, then for
# each user the id, the epoch that was seen (-1 for none), the number of members and the members. They
# are added one by one: a set that once grew past what Redis packs is never packed again. Returns for
# each user how many members were not left out.
_APPEND = f"""
local cap, ttl, at = tonumber(ARGV[1]), ARGV[2], 3
local taken = {{}}
for i = 2, #KEYS, 2 do
  local erased = tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or -1)
  local value = redis.call('GETRANGE', KEYS[i + 1], 0, {codec.EPOCH_AT + 7})
  local layout, epoch = string.byte(value, 1), 0
  if layout == {codec.LAYOUT} or layout == {codec.TOMBSTONE} then
    epoch = struct.unpack('<I8', value, {codec.EPOCH_AT + 1})
  end
  local seen, count = tonumber(ARGV[at + 1]), 0
  for j = at + 3, at + 2 + ARGV[at + 2] do
    if struct.unpack('>I{_TIME_BYTES}', ARGV[j]) > erased and (seen == -1 or seen == epoch) then
      redis.call('ZADD', KEYS[i], 0, ARGV[j])
      redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -cap - 1)
      count = count + 1
    end
  end
  if count > 0 then redis.call('PEXPIRE', KEYS[i], ttl) end
  taken[#taken + 1] = count
  at = at + 3 + ARGV[at + 2]
end
return taken
"""


class RedisInteractions:
    """Interactions in Redis.

    Args:
        client: Shared with the other stores, closed by its owner.
        cap: Most interactions kept of a user.
        ttl_s: How long a user's interactions are kept after the last was added.
    """

    def __init__(self, client: RedisClient, *, cap: int, ttl_s: int) -> None:
        self._client = client
        self._cap = cap
        self._ttl_ms = ttl_s * 1000

    async def append(
        self, tenant: str, events: Sequence[Event], *, epochs: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Adds events in one round trip."""
        if not events:
            return {}
        members: dict[str, list[bytes]] = {}
        for event in events:
            members.setdefault(event.user_id, []).append(_member(event))
        names = [keys.erasures(tenant)]
        rows: list[bytes | int] = []
        for user_id, of_user in members.items():
            profile = keys.profile(ProfileKey(tenant, "user", user_id))
            names += [keys.interactions(tenant, user_id), profile]
            rows += [user_id.encode(), (epochs or {}).get(user_id, -1), len(of_user), *of_user]
        taken = await self._client.write(_APPEND, names, self._cap, self._ttl_ms, *rows)
        return {user: count for user, count in zip(members, taken, strict=True) if count}

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
