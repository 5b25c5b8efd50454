"""The queue of refreshes in Redis.

A user waits in a sorted set until the burst of events is over, once for any number of events. Then
a worker moves the user into a stream, where the entry is pending for that worker until it is ended.
If the worker dies, another one claims the entry (XAUTOCLAIM). Every step is one script, so that a
user is always in one of the two. Times are the server's, so that hosts need no common clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.base import DeadLetter, Refresh, Taken
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.stores.redis.client import RedisClient

_DEAD_LETTERS = 1_000
"""Most dead letters kept; the oldest go first."""

_GONE_MS = 3_600_000
"""A worker that holds nothing and has sent nothing for so long has ended."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
# KEYS: due, first, tries. ARGV: quiet ms, longest wait ms, user ids.
# GT: events do not shorten the pause after a failure.
_SCHEDULE = (
    _NOW
    + """
for i = 3, #ARGV do
  local user = ARGV[i]
  redis.call('HSETNX', KEYS[2], user, now)
  local due = math.min(now + ARGV[1], redis.call('HGET', KEYS[2], user) + ARGV[2])
  if redis.call('HEXISTS', KEYS[3], user) == 1 then
    redis.call('ZADD', KEYS[1], 'GT', due, user)
  else
    redis.call('ZADD', KEYS[1], due, user)
  end
end
"""
)
# KEYS: due, first, tries, stream, under way. ARGV: group, worker, most, lease ms, quiet ms, ids of
# entries held. A user whose refresh is under way is put off, if its entry is still in the stream.
_TAKE = (
    _NOW
    + """
local stream, group, worker, most = KEYS[4], ARGV[1], ARGV[2], tonumber(ARGV[3])
local function free(taken) return most - #taken end
if redis.call('EXISTS', stream) == 0 then
  redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
end
for i = 6, #ARGV do
  redis.call('XCLAIM', stream, group, worker, 0, ARGV[i], 'JUSTID')
end
local taken = {}
local function keep(entries)
  for _, entry in ipairs(entries) do
    if entry then
      local user = entry[2][2]
      taken[#taken + 1] = {entry[1], user, redis.call('HINCRBY', KEYS[3], user, 1)}
    end
  end
end
if free(taken) > 0 then
  keep(redis.call('XAUTOCLAIM', stream, group, worker, ARGV[4], '0-0', 'COUNT', free(taken))[2])
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
local lag = oldest and math.max(0, now - oldest) or 0
if free(taken) > 0 then
  local users = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, free(taken))
  for _, user in ipairs(users) do
    local entry = redis.call('HGET', KEYS[5], user)
    if entry and #redis.call('XRANGE', stream, entry, entry) > 0 then
      redis.call('ZADD', KEYS[1], now + ARGV[5], user)
    else
      redis.call('ZREM', KEYS[1], user)
      redis.call('HDEL', KEYS[2], user)
      redis.call('HSET', KEYS[5], user, redis.call('XADD', stream, '*', 'user', user))
    end
  end
  local read = redis.call('XREADGROUP', 'GROUP', group, worker, 'COUNT', free(taken),
    'STREAMS', stream, '>')
  if read then keep(read[1][2]) end
end
return {taken, redis.call('ZCARD', KEYS[1]) + redis.call('XLEN', stream), lag}
"""
)
# Ended before, or its user was erased: `ended` is 0.
_END = """
local ended = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if redis.call('HGET', KEYS[2], ARGV[3]) == ARGV[2] then redis.call('HDEL', KEYS[2], ARGV[3]) end
"""
# KEYS: stream, under way, tries. ARGV: group, entry, user.
_DONE = (
    _END
    + """
if ended == 1 then redis.call('HDEL', KEYS[3], ARGV[3]) end
"""
)
# KEYS: stream, under way, tries, due. ARGV: group, entry, user, pause ms, 1 if it counts.
_LATER = (
    _NOW
    + _END
    + """
if ended == 0 then return end
if ARGV[5] == '0' then redis.call('HINCRBY', KEYS[3], ARGV[3], -1) end
redis.call('ZADD', KEYS[4], 'GT', now + ARGV[4], ARGV[3])
"""
)
# KEYS: stream, under way, tries, dead letters. ARGV: group, entry, user, most, reason.
_DEAD_LETTER = (
    _END
    + """
if ended == 0 then return end
local tries = redis.call('HGET', KEYS[3], ARGV[3]) or 0
redis.call('HDEL', KEYS[3], ARGV[3])
redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[4], '*', 'user', ARGV[3], 'reason', ARGV[5],
  'tries', tries)
"""
)
# KEYS: stream. ARGV: group, worker, ms.
_LEAVE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return end
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local known = {}
  for i = 1, #row, 2 do known[row[i]] = row[i + 1] end
  if known.pending == 0 and (known.name == ARGV[2] or known.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], known.name)
  end
end
"""


class RedisRefreshes:
    """A queue in Redis, for all workers of all hosts.

    Args:
        client: Shared with the other stores, closed by its owner.
        quiet_s: A refresh is due so long after the last event of its user,
        max_wait_s: and at the latest so long after the first.
        lease_s: How soon another worker gets the refreshes of one that died.
    """

    def __init__(
        self, client: RedisClient, *, quiet_s: float, max_wait_s: float, lease_s: float
    ) -> None:
        self._client = client
        self._quiet_ms = int(quiet_s * 1000)
        self._max_wait_ms = int(max_wait_s * 1000)
        self._lease_ms = int(lease_s * 1000)

    async def schedule(self, tenant: str, user_ids: Sequence[str]) -> None:
        """Puts users into the queue, or puts off those that are there, in one round trip."""
        users = [user_id.encode() for user_id in dict.fromkeys(user_ids)]
        await self._client.write(
            _SCHEDULE,
            [keys.refresh_due(tenant), keys.refresh_first(tenant), keys.refresh_tries(tenant)],
            self._quiet_ms,
            self._max_wait_ms,
            *users,
        )

    async def take(
        self, tenant: str, worker: str, *, most: int, holding: Sequence[Refresh]
    ) -> Taken:
        """Renews, claims what dead workers held, and takes what is due, in one round trip."""
        rows, waiting, lag_ms = await self._client.run(
            _TAKE,
            [
                keys.refresh_due(tenant),
                keys.refresh_first(tenant),
                keys.refresh_tries(tenant),
                keys.refresh_stream(tenant),
                keys.refresh_under_way(tenant),
            ],
            keys.REFRESH_GROUP,
            worker.encode(),
            most,
            self._lease_ms,
            self._quiet_ms,
            *(refresh.entry for refresh in holding),
        )
        taken = tuple(Refresh(entry, user.decode(), tries) for entry, user, tries in rows)
        return Taken(taken, waiting, lag_ms / 1000)

    async def done(self, tenant: str, refresh: Refresh) -> None:
        """Ends a refresh."""
        await self._client.run(_DONE, _ended(tenant), *_named(refresh))

    async def later(self, tenant: str, refresh: Refresh, *, pause_s: float, counts: bool) -> None:
        """Puts a user back into the queue."""
        names = [*_ended(tenant), keys.refresh_due(tenant)]
        pause_ms = int(pause_s * 1000)
        await self._client.run(_LATER, names, *_named(refresh), pause_ms, int(counts))

    async def dead_letter(self, tenant: str, refresh: Refresh, reason: str) -> None:
        """Adds a dead letter to the stream of them."""
        names = [*_ended(tenant), keys.refresh_dead(tenant)]
        await self._client.run(
            _DEAD_LETTER, names, *_named(refresh), _DEAD_LETTERS, reason.encode()
        )

    async def dead_letters(self, tenant: str) -> list[DeadLetter]:
        """Reads the stream of dead letters."""
        rows = await self._client.call("XRANGE", keys.refresh_dead(tenant), "-", "+")
        letters = []
        for _, fields in rows:
            user, reason, tries = (fields[name] for name in (b"user", b"reason", b"tries"))
            letters.append(DeadLetter(user.decode(), reason.decode(), int(tries)))
        return letters

    async def leave(self, tenant: str, worker: str) -> None:
        """Removes consumers that have ended."""
        await self._client.run(
            _LEAVE, [keys.refresh_stream(tenant)], keys.REFRESH_GROUP, worker.encode(), _GONE_MS
        )


def _ended(tenant: str) -> list[bytes]:
    return [
        keys.refresh_stream(tenant),
        keys.refresh_under_way(tenant),
        keys.refresh_tries(tenant),
    ]


def _named(refresh: Refresh) -> tuple[bytes, bytes, bytes]:
    return keys.REFRESH_GROUP, refresh.entry, refresh.user_id.encode()
