"""What the service asks of a store. Values are opaque bytes; `codec` gives them meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.models import Item, ProfileKey


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to generate one profile, held until it is committed, given up or runs out."""

    key: ProfileKey
    token: bytes


@dataclass(frozen=True, slots=True)
class Contention:
    """What a process sees that asked for a lease and did not get it.

    Attributes:
        value: The profile as stored now, or None.
        failure: The error code that the last leader left, or None while one is at work.
    """

    value: bytes | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A page of the catalogue, in order of id; `cursor` continues it, None at the end."""

    items: tuple[Item, ...]
    cursor: str | None


class ProfileStore(Protocol):
    """Profiles, and leases on them. Every method may raise StoreUnavailable."""

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns the stored value: one round trip, shared by calls that arrive together."""
        ...

    async def get_many(self, keys: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in the order of `keys`, in one round trip."""
        ...

    async def delete(self, key: ProfileKey) -> bool:
        """Erases all that is kept under a key, leases too. Returns whether a profile was there."""
        ...

    async def acquire(self, key: ProfileKey) -> Lease | Contention:
        """Takes the lease, or says what stands in the way. Never waits."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Extends a lease. False when it is lost: it ran out, or the profile was erased."""
        ...

    async def commit(self, lease: Lease, value: bytes, ttl_s: int) -> bool:
        """Stores a value and ends the lease, atomically. False, storing nothing, when it is lost."""
        ...

    async def give_up(self, lease: Lease, failure: str) -> None:
        """Ends a lease without a value, leaving the error code for those who wait."""
        ...

    async def put_version(self, digest: bytes, document: bytes) -> None:
        """Remembers the JSON of a version under its digest."""
        ...

    async def get_version(self, digest: bytes) -> bytes | None:
        """Returns the JSON of a version."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        ...


class Catalogue(Protocol):
    """The items that histories refer to. Every method may raise StoreUnavailable."""

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns catalogue items in the order of `ids`."""
        ...

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces catalogue items, each with its search terms, atomically."""
        ...

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item from the catalogue. Returns whether it was there."""
        ...

    async def list_items(
        self, tenant: str, *, query: str, cursor: str | None, limit: int
    ) -> ItemPage:
        """Returns items in order of id; with a query, those whose title has words with its prefixes."""
        ...
