"""Profiles and leases in Redis.

Reads that arrive in the same turn of the event loop are sent as one MGET: a busy worker then spends
its time on requests and not on the Redis protocol. A lease is a key with a random token and a time
to live. Whatever ends or uses a lease checks the token inside Redis. So a leader whose lease has
expired cannot overwrite its successor, and a profile that was erased while it was generated stays
erased.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from services.profiles.errors import StoreUnavailable
from services.profiles.stores.base import Claim, Lease
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import ProfileKey, ProfileVersion
    from services.profiles.stores.redis.client import RedisClient

FAILURE_MS = 500
"""How long those who wait for a failed leader can read why it failed."""

_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_COMMIT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('DEL', KEYS[1])
return 1
"""
_GIVE_UP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""


class RedisProfiles:
    """Profiles in one Redis server.

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

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease if nobody has it, and reads the profile, in one round trip."""
        token = secrets.token_hex(8).encode()
        async with self._client.transaction() as pipeline:
            pipeline.set(keys.lease(key), token, nx=True, px=self._lease_ms)
            pipeline.get(keys.profile(key))
            pipeline.get(keys.lease(key))
            taken, value, holder = await pipeline.execute()
        if taken:
            return Claim(Lease(key, token), value)
        failed = holder is not None and holder.startswith(b"!")
        return Claim(None, value, holder[1:].decode() if failed else None)

    async def renew(self, lease: Lease) -> bool:
        """Extends a lease that is still held."""
        return bool(
            await self._client.run(_RENEW, [keys.lease(lease.key)], lease.token, self._lease_ms)
        )

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> bool:
        """Stores under a lease that is still held."""
        return bool(
            await self._client.run(
                _COMMIT,
                [keys.lease(lease.key), keys.profile(lease.key), keys.versions(lease.key.tenant)],
                lease.token,
                value,
                ttl_s,
                version.digest().hex().encode(),
                version.to_json(),
            )
        )

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

    async def ping(self) -> None:
        """Sends a PING."""
        await self._client.call("PING")
