"""What the service asks of its stores. Values are opaque bytes; `codec` gives them meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import Item, ProfileKey, ProfileVersion


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to generate one profile, until it is committed, given up, erased or expires."""

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
class ScorerNames:
    """The active bundle, and the one that was active before it; None for none."""

    active: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A page of the catalogue, in order of id; `cursor` continues it, None at the end."""

    items: tuple[Item, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One interaction: a user chose an item, `at_ms` in Unix milliseconds."""

    user_id: str
    item_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Refresh:
    """A profile to refresh, pending for the worker that took it.

    Attributes:
        entry: Its id in the queue.
        tries: How often it was begun since the last success, this time included.
    """

    entry: bytes
    user_id: str
    tries: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The refreshes that a worker was given, and the state of the queue at that time.

    Attributes:
        waiting: Users whose refresh is not done, those under way included.
        lag_s: How long the refresh that is due longest is overdue; 0 when none is.
    """

    refreshes: tuple[Refresh, ...]
    waiting: int
    lag_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refresh that was given up after so many tries, and why."""

    user_id: str
    reason: str
    tries: int


class ProfileStore(Protocol):
    """Profiles, and leases on them. Every method may raise StoreUnavailable."""

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns the stored value: one round trip, shared by calls that arrive together."""
        ...

    async def get_many(self, keys: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in the order of `keys`, in one round trip."""
        ...

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease if nobody has it, and reads the profile, as one step. Never waits."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Extends a lease. False when it is lost: it expired, or the profile was erased."""
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

    async def get_version(self, tenant: str, digest: bytes) -> bytes | None:
        """Returns the JSON of a version that something of the tenant was committed with."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        ...


class Interactions(Protocol):
    """Each user's newest interactions. Every method may raise StoreUnavailable."""

    async def append(self, tenant: str, events: Sequence[Event]) -> None:
        """Adds events, all or none; one that is there already changes nothing."""
        ...

    async def history(self, tenant: str, user_id: str, *, limit: int) -> list[str]:
        """Returns the item ids of the newest `limit` events, oldest first."""
        ...

    async def events(self, tenant: str, user_id: str, *, limit: int) -> list[Event]:
        """Returns the newest `limit` events, oldest first."""
        ...


class Refreshes(Protocol):
    """The queue of profiles to refresh, one entry a user. Every method may raise StoreUnavailable.

    A refresh that was taken stays pending until `done`, `later` or `dead_letter` ends it. Until
    then, another refresh of the same user waits. If the worker does not call `take` for the time
    of a lease, the next worker that does gets the refresh.
    """

    async def schedule(self, tenant: str, user_ids: Sequence[str]) -> None:
        """Makes refreshes due when their users are quiet, or have waited for the longest time."""
        ...

    async def take(
        self, tenant: str, worker: str, *, most: int, holding: Sequence[Refresh]
    ) -> Taken:
        """Gives a worker up to `most` refreshes that are due, and renews those that it holds."""
        ...

    async def done(self, tenant: str, refresh: Refresh) -> None:
        """Ends a refresh that succeeded, or is not needed any more."""
        ...

    async def later(self, tenant: str, refresh: Refresh, *, pause_s: float, counts: bool) -> None:
        """Ends a try; the next one is due after a pause. It is not counted unless `counts`."""
        ...

    async def dead_letter(self, tenant: str, refresh: Refresh, reason: str) -> None:
        """Gives a refresh up, and keeps the reason, unless its user was erased meanwhile."""
        ...

    async def dead_letters(self, tenant: str) -> list[DeadLetter]:
        """Returns the refreshes that were given up, the oldest first; only the newest are kept."""
        ...

    async def leave(self, tenant: str, worker: str) -> None:
        """Forgets a worker that holds nothing, and workers that ended long ago."""
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


class ActiveScorers(Protocol):
    """The names of the scorers that all workers use. Every method may raise StoreUnavailable."""

    async def names(self, tenant: str) -> ScorerNames:
        """Returns the names of the active bundle and of the one before it."""
        ...

    async def activate(self, tenant: str, name: str) -> ScorerNames:
        """Makes a bundle the active one, and the active one the previous one; returns both names.

        To activate the active bundle changes nothing.
        """
        ...

    async def swap(self, tenant: str, expected: ScorerNames) -> bool:
        """Exchanges active and previous. False, changing nothing, when they are not as expected."""
        ...


class Stores(Protocol):
    """All that one deployment keeps, and what concerns several stores at once."""

    @property
    def profiles(self) -> ProfileStore:
        """Profiles, and leases on them."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Items."""
        ...

    @property
    def interactions(self) -> Interactions:
        """Users' interactions."""
        ...

    @property
    def refreshes(self) -> Refreshes:
        """The queue of refreshes."""
        ...

    @property
    def scorers(self) -> ActiveScorers:
        """Names of scorers."""
        ...

    async def erase(self, key: ProfileKey) -> bool:
        """Erases a user or an item from all stores but the catalogue, as one step.

        The profile and its lease go: a profile that is being generated is not stored. Of a user go
        the interactions, the refreshes that wait or are under way, and the dead letters.

        Returns:
            Whether there was a profile.

        Raises:
            StoreUnavailable: As the stores do.
        """
        ...

    async def aclose(self) -> None:
        """Closes the connections that the stores share."""
        ...
