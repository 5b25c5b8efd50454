"""The active scorer and the one before it, in Redis, each as `name@content`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.base import ActiveRefs, ScorerRef
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

    async def refs(self, tenant: str) -> ActiveRefs:
        """Reads both."""
        return _refs(await self._client.call("HMGET", keys.scorers(tenant), "active", "previous"))

    async def activate(self, tenant: str, ref: ScorerRef) -> ActiveRefs:
        """Writes both as one step; the active one is not its own predecessor."""
        return _refs(await self._client.write(_ACTIVATE, [keys.scorers(tenant)], _value(ref)))

    async def swap(self, tenant: str, expected: ActiveRefs) -> bool:
        """Exchanges them if nobody else has changed them."""
        if expected.active is None or expected.previous is None:
            return False
        arguments = _value(expected.active), _value(expected.previous)
        return bool(await self._client.write(_SWAP, [keys.scorers(tenant)], *arguments))


def _value(ref: ScorerRef) -> bytes:
    return (ref.name if ref.content is None else f"{ref.name}@{ref.content}").encode()


def _refs(values: list[bytes | None]) -> ActiveRefs:
    active, previous = (None if value is None else _ref(value.decode()) for value in values)
    return ActiveRefs(active, previous)


def _ref(value: str) -> ScorerRef:
    name, _, content = value.partition("@")
    return ScorerRef(name, content or None)
