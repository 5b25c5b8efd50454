"""What the service asks of a store. Values are opaque bytes; `codec` gives them meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.models import Item, ProfileKey, ProfileVersion


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to generate one profile, held until it is committed, given up or runs out."""

    key: ProfileKey
    token: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to asking for a lease.

    Attributes:
        lease: The lease, or None when another process has it.
        value: The profile as stored at that instant, or None.
        failure: Without a lease: the error code that the last leader left; None while one works.
    """

    lease: Lease | None
    value: bytes | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A user chose an item; `at_ms` is Unix time in milliseconds."""

    user_id: str
    item_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ScorerNames:
    """Which bundle is active, and which was before it; None for none."""

    active: str | None
    previous: str | None


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

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease if nobody has it, and reads the profile, as one step. Never waits."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Extends a lease. False when it is lost: it ran out, or the profile was erased."""
        ...

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> bool:
        """Stores a value, with its version, and ends the lease, atomically.

        Returns:
            False, storing nothing, when the lease is lost.
        """
        ...

    async def give_up(self, lease: Lease, failure: str | None = None) -> None:
        """Ends a lease without a value; an error code is left for those who wait."""
        ...

    async def get_version(self, digest: bytes) -> bytes | None:
        """Returns the JSON of a version that something was committed with."""
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


class Interactions(Protocol):
    """What users chose lately. Every method may raise StoreUnavailable."""

    async def append(self, tenant: str, events: Sequence[Event]) -> None:
        """Adds events to the histories of their users."""
        ...

    async def history(self, tenant: str, user_id: str, *, limit: int) -> list[str]:
        """Returns the newest item ids of a user, at most `limit`, oldest first."""
        ...


class ActiveScorers(Protocol):
    """The names that all workers go by. Every method may raise StoreUnavailable."""

    async def names(self, tenant: str) -> ScorerNames:
        """Returns which bundle is active, and which was before."""
        ...

    async def activate(self, tenant: str, name: str) -> ScorerNames:
        """Makes a bundle the active one and the one that was the previous; returns both."""
        ...

    async def swap(self, tenant: str, expected: ScorerNames) -> bool:
        """Exchanges active and previous. False, changing nothing, when they are not as expected."""
        ...
