"""Profiles and leases in the memory of this process."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from services.profiles.stores.base import Claim, Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.profiles.domain.profile import ProfileKey, ProfileVersion

_FAILURE_S = 0.5
"""How long those who wait for a failed leader can read why it failed."""


class MemoryProfiles:
    """Profiles in a dictionary; nothing outlives the process.

    Args:
        lease_s: How long a lease lives unless it is renewed.
        clock: Returns seconds, as `time.monotonic` does.
    """

    def __init__(
        self, *, lease_s: float = 4.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._values: dict[ProfileKey, tuple[bytes, float]] = {}
        self._leases: dict[ProfileKey, tuple[bytes, float]] = {}
        self._versions: dict[tuple[str, bytes], bytes] = {}

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns a stored value."""
        value, until = self._values.get(key, (None, 0.0))
        return value if until > self._clock() else None

    async def get_many(self, keys: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in order."""
        return [await self.get(key) for key in keys]

    def drop(self, key: ProfileKey) -> bool:
        """Erases value and lease. Returns whether there was a value."""
        self._leases.pop(key, None)
        _, until = self._values.pop(key, (None, 0.0))
        return until > self._clock()

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease unless somebody holds it."""
        value = await self.get(key)
        held, until = self._leases.get(key, (b"", 0.0))
        if until > self._clock():
            return Claim(None, value, held[1:].decode() if held.startswith(b"!") else None)
        token = secrets.token_hex(8).encode()
        self._leases[key] = (token, self._clock() + self._lease_s)
        return Claim(Lease(key, token), value)

    async def renew(self, lease: Lease) -> bool:
        """Extends a lease that is still held."""
        if not self._holds(lease):
            return False
        self._leases[lease.key] = (lease.token, self._clock() + self._lease_s)
        return True

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> bool:
        """Stores under a lease that is still held."""
        if not self._holds(lease):
            return False
        self._versions[lease.key.tenant, version.digest()] = version.to_json()
        self._values[lease.key] = (value, self._clock() + ttl_s)
        del self._leases[lease.key]
        return True

    async def give_up(self, lease: Lease, failure: str | None = None) -> None:
        """Ends the lease; a failure takes its place for half a second."""
        if not self._holds(lease):
            return
        if failure is None:
            del self._leases[lease.key]
        else:
            self._leases[lease.key] = (b"!" + failure.encode(), self._clock() + _FAILURE_S)

    def _holds(self, lease: Lease) -> bool:
        token, until = self._leases.get(lease.key, (b"", 0.0))
        return token == lease.token and until > self._clock()

    async def get_version(self, tenant: str, digest: bytes) -> bytes | None:
        """Returns a version."""
        return self._versions.get((tenant, digest))

    async def ping(self) -> None:
        """Does nothing: the store is always there."""
