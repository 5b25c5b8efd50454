"""All stores in Redis, and what touches the keys of several of them.

The only place where keys of different stores meet is the erasure below: one script, so that no
other command runs between its steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.stores import codec
from services.profiles.stores.redis import keys, requirements
from services.profiles.stores.redis.catalogue import RedisCatalogue
from services.profiles.stores.redis.client import RedisClient, open_redis_client
from services.profiles.stores.redis.erasures import RedisErasures
from services.profiles.stores.redis.interactions import RedisInteractions
from services.profiles.stores.redis.presence import RedisPresence
from services.profiles.stores.redis.profiles import RedisProfiles
from services.profiles.stores.redis.refreshes import RedisRefreshes
from services.profiles.stores.redis.scorers import RedisScorers

if TYPE_CHECKING:
    from services.profiles.domain.profile import ProfileKey
    from services.profiles.settings import Settings

# KEYS: profile, lease; of a user also history, stream, dead letters, under way, due, first, tries,
# erasures. ARGV: id, group, seconds that the tombstone lives. Times are the server's, or later, so that each
# erasure has another.
_ERASE = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.call('GETRANGE', KEYS[1], 0, {codec.EPOCH_AT + 7})
local layout = string.byte(value, 1)
if layout == {codec.LAYOUT} or layout == {codec.TOMBSTONE} then
  now = math.max(now, (struct.unpack('<I8', value, {codec.EPOCH_AT + 1})) + 1)
end
local erased = layout == {codec.LAYOUT} and 1 or 0
-- First what frees memory: a script that has written is not refused when the memory is full.
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[1], struct.pack('<BI8', {codec.TOMBSTONE}, now), 'EX', ARGV[3])
if #KEYS == 2 then return erased end
redis.call('HSET', KEYS[10], ARGV[1], string.format('%.0f', now))
redis.call('DEL', KEYS[3])
local entry = redis.call('HGET', KEYS[6], ARGV[1])
if entry and redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('XACK', KEYS[4], ARGV[2], entry)
  redis.call('XDEL', KEYS[4], entry)
end
for _, letter in ipairs(redis.call('XRANGE', KEYS[5], '-', '+')) do
  if letter[2][2] == ARGV[1] then redis.call('XDEL', KEYS[5], letter[1]) end
end
redis.call('HDEL', KEYS[6], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
redis.call('HDEL', KEYS[8], ARGV[1])
redis.call('HDEL', KEYS[9], ARGV[1])
return erased
"""


@dataclass(frozen=True, slots=True)
class RedisStores:
    """Stores of all processes that use one Redis. They share `client`."""

    client: RedisClient
    profiles: RedisProfiles
    catalogue: RedisCatalogue
    interactions: RedisInteractions
    refreshes: RedisRefreshes
    scorers: RedisScorers
    erasures: RedisErasures
    presence: RedisPresence
    erasure_ttl_s: int

    async def erase(self, key: ProfileKey) -> bool:
        """Erases a user or an item in one round trip."""
        names = [keys.profile(key), keys.lease(key)]
        if key.kind == "user":
            names += [
                keys.interactions(key.tenant, key.id),
                keys.refresh_stream(key.tenant),
                keys.refresh_dead(key.tenant),
                keys.refresh_under_way(key.tenant),
                keys.refresh_due(key.tenant),
                keys.refresh_first(key.tenant),
                keys.refresh_tries(key.tenant),
                keys.erasures(key.tenant),
            ]
        args = (key.id.encode(), keys.REFRESH_GROUP, self.erasure_ttl_s)
        return bool(await self.client.write(_ERASE, names, *args))

    async def fault(self) -> str | None:
        """Asks what Redis is, and which commands the user may run."""
        return await requirements.fault(self.client)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self.client.aclose()


def open_redis_stores(settings: Settings) -> RedisStores:
    """Returns the stores in the Redis that the settings name; connects on first use.

    Raises:
        ValueError: As `open_redis_client` does.
    """
    client = open_redis_client(settings)
    return RedisStores(
        client=client,
        profiles=RedisProfiles(client, lease_s=settings.lease_s),
        catalogue=RedisCatalogue(client),
        interactions=RedisInteractions(
            client, cap=settings.max_interactions, ttl_s=settings.profile_ttl_s
        ),
        refreshes=RedisRefreshes(
            client,
            quiet_s=settings.refresh_quiet_s,
            max_wait_s=settings.refresh_max_wait_s,
            lease_s=settings.lease_s,
        ),
        scorers=RedisScorers(client),
        erasures=RedisErasures(client),
        presence=RedisPresence(client),
        erasure_ttl_s=settings.erasure_ttl_s,
    )
