"""Profiles and leases in Redis.

Reads that arrive in the same turn of the event loop are sent as one MGET: a busy worker then spends
its time on requests and not on the Redis protocol. A lease is a key with a random token and a time
to live. Whatever ends or uses a lease checks the token inside Redis. So a leader whose lease has
expired cannot overwrite what its successor has stored. What was begun before an erasure is refused
by the epoch of the value that it would replace, whoever has the lease by then.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from services.profiles.errors import StoreUnavailable
from services.profiles.stores import codec
from services.profiles.stores.base import Claim, Lease
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import ProfileKey, ProfileVersion
    from services.profiles.stores.base import CommitOutcome
    from services.profiles.stores.redis.client import RedisClient

FAILURE_MS = 500
"""How long those who wait for a failed leader can read why it failed."""

# KEYS: leases. ARGV: ms, tokens.
_RENEW = """
local held = {}
for i, lease in ipairs(KEYS) do
  held[i] = 0
  if redis.call('GET', lease) == ARGV[i + 1] then held[i] = redis.call('PEXPIRE', lease, ARGV[1]) end
end
return held
"""
_NEWEST = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function newest(order)
  local top = 0
  for _, number in ipairs(redis.call('HVALS', order)) do top = math.max(top, tonumber(number)) end
  return top
end
"""
# KEYS: lease, profile, versions, order, alive. ARGV: token, value, seconds to live, header that was seen,
# version digest, version digest in hex, version.
_COMMIT = (
    _NEWEST
    + f"""
local header = redis.call('GETRANGE', KEYS[2], 0, {codec.HEADER_BYTES - 1})
local layout = string.byte(header, 1)
local known = layout == {codec.LAYOUT} or layout == {codec.TOMBSTONE}
local function epoch(value)
  return string.sub(value, {codec.EPOCH_AT + 1}, {codec.EPOCH_AT + 8})
end
local holder = redis.call('GET', KEYS[1])
local mine = tonumber(redis.call('HGET', KEYS[4], ARGV[5]))
if not mine then
  mine = newest(KEYS[4]) + 1
  redis.call('HSET', KEYS[4], ARGV[5], mine)
end
local theirs = 0
if layout == {codec.LAYOUT} then
  local digest = string.sub(header, {codec.VERSION_AT + 1}, {codec.VERSION_AT + 8})
  if tonumber(redis.call('HGET', KEYS[5], digest) or 0) > now then
    theirs = tonumber(redis.call('HGET', KEYS[4], digest) or 0)
  end
end
local outcome = 'stored'
if known and epoch(header) ~= epoch(ARGV[2]) then outcome = 'erased'
elseif holder ~= ARGV[1] and header ~= ARGV[4] then outcome = 'overtaken'
elseif theirs > mine then outcome = 'outdated'
else
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
  redis.call('HSET', KEYS[3], ARGV[6], ARGV[7])
end
if holder == ARGV[1] or (outcome == 'stored' and holder and string.sub(holder, 1, 1) == '!') then
  redis.call('DEL', KEYS[1])
end
return outcome
"""
)
# KEYS: versions, order, alive. ARGV: version digest, in hex, version, ms, 1 for one that starts.
_ANNOUNCE = (
    _NEWEST
    + """
local mine = tonumber(redis.call('HGET', KEYS[2], ARGV[1]))
local begins = ARGV[5] == '1' and tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0) <= now
local top = newest(KEYS[2])
if not mine or (begins and mine < top) then redis.call('HSET', KEYS[2], ARGV[1], top + 1) end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', now + ARGV[4]))
local running, known = {}, redis.call('HGETALL', KEYS[3])
for i = 1, #known, 2 do
  if tonumber(known[i + 1]) > now then
    running[#running + 1] = known[i]
    running[#running + 1] = redis.call('HGET', KEYS[2], known[i])
  end
end
return running
"""
)
# KEYS: profiles.
_EPOCHS = f"""
local starts = {{}}
for i, key in ipairs(KEYS) do
  starts[i] = redis.call('GETRANGE', key, 0, {codec.EPOCH_AT + 7})
end
return starts
"""
_GIVE_UP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""


class RedisProfiles:
    """Profiles in Redis.

    Args:
        client: Shared with the other stores, closed by its owner.
        lease_s: How long a lease lives unless it is renewed.
    """

    def __init__(self, client: RedisClient, *, lease_s: float) -> None:
        self._client = client
        self._lease_ms = int(lease_s * 1000)
        self._reads: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns a stored value; calls of one turn of the loop share a round trip."""
        name = keys.profile(key)
        future = self._reads.get(name)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._reads:
                loop.call_soon(self._send_reads)
            future = self._reads[name] = loop.create_future()
        # Shielded: a caller that is cancelled must not cancel the read that others wait for.
        return await asyncio.shield(future)

    def _send_reads(self) -> None:
        reads, self._reads = self._reads, {}
        task = asyncio.create_task(self._read(reads))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reads: dict[bytes, asyncio.Future[bytes | None]]) -> None:
        try:
            values = await self._client.call("MGET", *reads)
        except StoreUnavailable as error:
            for future in reads.values():
                future.set_exception(StoreUnavailable(error.detail))
                # Marks the exception as read: every caller may have been cancelled.
                future.exception()
        else:
            for future, value in zip(reads.values(), values, strict=True):
                future.set_result(value)

    async def get_many(self, keys_: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in order, in one round trip."""
        if not keys_:
            return []
        names = [keys.profile(key) for key in keys_]
        values: list[bytes | None] = await self._client.call("MGET", *names)
        return values

    async def epochs(self, keys_: Sequence[ProfileKey]) -> list[int]:
        """Reads the beginnings of values, in one round trip."""
        if not keys_:
            return []
        starts = await self._client.run(_EPOCHS, [keys.profile(key) for key in keys_])
        return [codec.epoch_of(start) for start in starts]

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease if nobody has it, and reads the profile, in one round trip."""
        token = secrets.token_hex(8).encode()
        taken, value, holder = await self._client.transaction(
            ("SET", keys.lease(key), token, "NX", "PX", self._lease_ms),
            ("GET", keys.profile(key)),
            ("GET", keys.lease(key)),
        )
        if taken:
            return Claim(Lease(key, token, (value or b"")[: codec.HEADER_BYTES]), value)
        return _held(value, holder)

    async def peek(self, key: ProfileKey) -> Claim:
        """Reads the profile and its lease, in one round trip."""
        value, holder = await self._client.call("MGET", keys.profile(key), keys.lease(key))
        return _held(value, holder)

    async def renew(self, leases: Sequence[Lease]) -> list[bool]:
        """Extends leases that are still held."""
        if not leases:
            return []
        names = [keys.lease(lease.key) for lease in leases]
        tokens = [lease.token for lease in leases]
        return list(map(bool, await self._client.run(_RENEW, names, self._lease_ms, *tokens)))

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> CommitOutcome:
        """Stores unless the script finds a reason not to."""
        tenant, digest = lease.key.tenant, version.digest()
        names = [
            keys.lease(lease.key),
            keys.profile(lease.key),
            keys.versions(tenant),
            keys.version_order(tenant),
            keys.version_alive(tenant),
        ]
        made_by = (digest, digest.hex().encode(), version.to_json())
        outcome: CommitOutcome = (
            await self._client.write(
                _COMMIT, names, lease.token, value, ttl_s, lease.seen, *made_by
            )
        ).decode()
        return outcome

    async def give_up(self, lease: Lease, failure: str | None = None) -> None:
        """Ends the lease; a failure takes its place for `FAILURE_MS`."""
        left = b"" if failure is None else b"!" + failure.encode()
        await self._client.run(_GIVE_UP, [keys.lease(lease.key)], lease.token, left, FAILURE_MS)

    async def get_version(self, tenant: str, digest: bytes) -> bytes | None:
        """Returns a version."""
        document: bytes | None = await self._client.call(
            "HGET", keys.versions(tenant), digest.hex()
        )
        return document

    async def announce(
        self, tenant: str, version: ProfileVersion, *, starting: bool, alive_s: float
    ) -> dict[bytes, int]:
        """Notes a version as running, in one round trip."""
        digest = version.digest()
        names = [
            keys.versions(tenant),
            keys.version_order(tenant),
            keys.version_alive(tenant),
        ]
        made_by = (digest, digest.hex().encode(), version.to_json())
        flat = await self._client.run(
            _ANNOUNCE, names, *made_by, int(alive_s * 1000), int(starting)
        )
        return dict(zip(flat[::2], map(int, flat[1::2]), strict=True))

    async def ping(self) -> None:
        """Writes a key of its own."""
        await self._client.prove()


def _held(value: bytes | None, holder: bytes | None) -> Claim:
    """Returns what is known of a profile whose lease was not taken."""
    if holder is not None and holder.startswith(b"!"):
        return Claim(None, value, holder[1:].decode())
    return Claim(None, value, held=holder is not None)
