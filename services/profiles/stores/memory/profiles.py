"""Profiles and leases in the memory of this process."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from services.profiles.stores import codec
from services.profiles.stores.base import Claim, Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.profiles.domain.profile import ProfileKey, ProfileVersion
    from services.profiles.stores.base import CommitOutcome

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
        self._order: dict[str, dict[bytes, int]] = {}
        self._alive: dict[tuple[str, bytes], float] = {}

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns a stored value."""
        return self._value(key)

    async def get_many(self, keys: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in order."""
        return [await self.get(key) for key in keys]

    async def epochs(self, keys: Sequence[ProfileKey]) -> list[int]:
        """Returns the epochs of stored values."""
        return [codec.epoch_of(self._value(key)) for key in keys]

    def put_tombstone(self, key: ProfileKey, epoch: int, *, ttl_s: int) -> bool:
        """Puts a tombstone in the place of a profile. Returns whether there was a profile."""
        value = self._value(key)
        epoch = max(epoch, codec.epoch_of(value) + 1)
        self._leases.pop(key, None)
        self._values[key] = (codec.tombstone(epoch), self._clock() + ttl_s)
        return codec.look(value) is not None

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease unless somebody holds it."""
        claim = await self.peek(key)
        if claim.held or claim.failure is not None:
            return claim
        token = secrets.token_hex(8).encode()
        self._leases[key] = (token, self._clock() + self._lease_s)
        return Claim(Lease(key, token, (claim.value or b"")[: codec.HEADER_BYTES]), claim.value)

    async def peek(self, key: ProfileKey) -> Claim:
        """Returns the value, and whether there is a lease or a failure."""
        value = self._value(key)
        holder = self._holder(key)
        if holder is not None and holder.startswith(b"!"):
            return Claim(None, value, holder[1:].decode())
        return Claim(None, value, held=holder is not None)

    async def renew(self, leases: Sequence[Lease]) -> list[bool]:
        """Extends leases that are still held."""
        held = [self._holds(lease) for lease in leases]
        for lease, holds in zip(leases, held, strict=True):
            if holds:
                self._leases[lease.key] = (lease.token, self._clock() + self._lease_s)
        return held

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> CommitOutcome:
        """Stores unless there is a reason not to."""
        key, digest = lease.key, version.digest()
        order = self._order.setdefault(key.tenant, {})
        mine = order.setdefault(digest, _newest(order) + 1)
        before = self._value(key)
        stored = codec.look(before)
        holder, holds = self._holder(key), self._holds(lease)
        outcome: CommitOutcome = "stored"
        if before is not None and codec.epoch_of(before) != codec.epoch_of(value):
            outcome = "erased"
        elif not holds and (before or b"")[: codec.HEADER_BYTES] != lease.seen:
            outcome = "overtaken"
        elif stored is not None and self._running(key.tenant).get(stored.version_digest, 0) > mine:
            outcome = "outdated"
        else:
            self._versions[key.tenant, digest] = version.to_json()
            self._values[key] = (value, self._clock() + ttl_s)
        failed = holder is not None and holder.startswith(b"!")
        if holds or (failed and outcome == "stored"):
            del self._leases[key]
        return outcome

    async def give_up(self, lease: Lease, failure: str | None = None) -> None:
        """Ends the lease; a failure takes its place for half a second."""
        if not self._holds(lease):
            return
        if failure is None:
            del self._leases[lease.key]
        else:
            self._leases[lease.key] = (b"!" + failure.encode(), self._clock() + _FAILURE_S)

    def _holds(self, lease: Lease) -> bool:
        return self._holder(lease.key) == lease.token

    def _holder(self, key: ProfileKey) -> bytes | None:
        token, until = self._leases.get(key, (None, 0.0))
        return token if until > self._clock() else None

    def _value(self, key: ProfileKey) -> bytes | None:
        value, until = self._values.get(key, (None, 0.0))
        return value if until > self._clock() else None

    async def get_version(self, tenant: str, digest: bytes) -> bytes | None:
        """Returns a version."""
        return self._versions.get((tenant, digest))

    async def announce(
        self, tenant: str, version: ProfileVersion, *, starting: bool, alive_s: float
    ) -> dict[bytes, int]:
        """Notes a version as running."""
        digest, order = version.digest(), self._order.setdefault(tenant, {})
        begins = starting and self._alive.get((tenant, digest), 0.0) <= self._clock()
        top = _newest(order)
        if digest not in order or (begins and order[digest] < top):
            order[digest] = top + 1
        self._versions[tenant, digest] = version.to_json()
        self._alive[tenant, digest] = self._clock() + alive_s
        return self._running(tenant)

    def _running(self, tenant: str) -> dict[bytes, int]:
        return {
            digest: number
            for digest, number in self._order.get(tenant, {}).items()
            if self._alive.get((tenant, digest), 0.0) > self._clock()
        }

    async def ping(self) -> None:
        """Does nothing: the store is always there."""


def _newest(order: dict[bytes, int]) -> int:
    return max(order.values(), default=0)
