"""The names of the active scorer and of the one before it, in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.base import ScorerNames
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from services.profiles.stores.redis.client import RedisClient

_ACTIVATE = """
local active = redis.call('HGET', KEYS[1], 'active')
if active ~= ARGV[1] then
  if active then redis.call('HSET', KEYS[1], 'previous', active) end
  redis.call('HSET', KEYS[1], 'active', ARGV[1])
end
return redis.call('HMGET', KEYS[1], 'active', 'previous')
"""
_SWAP = """
local names = redis.call('HMGET', KEYS[1], 'active', 'previous')
if names[1] ~= ARGV[1] or names[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'active', ARGV[2], 'previous', ARGV[1])
return 1
"""


class RedisScorers:
    """Active scorers in Redis.

    Args:
        client: Shared with the other stores, closed by its owner.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def names(self, tenant: str) -> ScorerNames:
        """Reads both names."""
        return _names(await self._client.call("HMGET", keys.scorers(tenant), "active", "previous"))

    async def activate(self, tenant: str, name: str) -> ScorerNames:
        """Writes both names as one step; the active one is not its own predecessor."""
        return _names(await self._client.write(_ACTIVATE, [keys.scorers(tenant)], name.encode()))

    async def swap(self, tenant: str, expected: ScorerNames) -> bool:
        """Exchanges the names if nobody else has changed them."""
        if expected.active is None or expected.previous is None:
            return False
        arguments = expected.active.encode(), expected.previous.encode()
        return bool(await self._client.write(_SWAP, [keys.scorers(tenant)], *arguments))


def _names(values: list[bytes | None]) -> ScorerNames:
    active, previous = (None if value is None else value.decode() for value in values)
    return ScorerNames(active, previous)
