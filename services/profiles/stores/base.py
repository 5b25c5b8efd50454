"""What the service asks of its stores. Values of profiles are laid out by `codec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reclm_client.schemas.erasure import Copy
    from services.profiles.domain.profile import Item, ProfileKey, ProfileVersion
    from services.profiles.stores.item_changes import ChangePage


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to generate one profile, until it is committed, given up, erased or expires.

    Attributes:
        seen: The header of the value that was there when the lease was taken; empty for none.
    """

    key: ProfileKey
    token: bytes
    seen: bytes = b""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to asking for a lease.

    Attributes:
        lease: The lease, or None when another process has it.
        value: The profile as stored at that instant, or None.
        failure: Without a lease: the error code that the last leader left; None while one works.
        held: Whether another process has the lease.
    """

    lease: Lease | None
    value: bytes | None
    failure: str | None = None
    held: bool = False


CommitOutcome = Literal["stored", "erased", "overtaken", "outdated"]
"""What became of a commit. All but `stored` leave everything as it was:

erased: the profile was erased after it was begun.
overtaken: its lease was lost, and another process has stored a profile meanwhile.
outdated: a profile of a newer version is stored, and that version is running.
"""


@dataclass(frozen=True, slots=True)
class ScorerRef:
    """A bundle: its name, and the hash of its content, which may be another on another host.

    Attributes:
        content: None where an older release made the bundle the active one, by its name alone.
    """

    name: str
    content: str | None

    def __str__(self) -> str:
        return self.name if self.content is None else f"{self.name} ({self.content})"


@dataclass(frozen=True, slots=True)
class ActiveRefs:
    """The active bundle, and the one that was active before it; None for none."""

    active: ScorerRef | None
    previous: ScorerRef | None


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
    """Profiles, and leases on them. Every method may raise StoreUnavailable.

    A value is a profile or a tombstone, as `codec` lays them out.
    """

    async def get(self, key: ProfileKey) -> bytes | None:
        """Returns the stored value: one round trip, shared by calls that arrive together."""
        ...

    async def epochs(self, keys: Sequence[ProfileKey]) -> list[int]:
        """Returns when each was last erased, in Unix milliseconds; 0 for never."""
        ...

    async def get_many(self, keys: Sequence[ProfileKey]) -> list[bytes | None]:
        """Returns stored values in the order of `keys`, in one round trip."""
        ...

    async def acquire(self, key: ProfileKey) -> Claim:
        """Takes the lease if nobody has it, and reads the profile, as one step. Never waits."""
        ...

    async def peek(self, key: ProfileKey) -> Claim:
        """Returns what `acquire` would find, without taking the lease."""
        ...

    async def renew(self, leases: Sequence[Lease]) -> list[bool]:
        """Extends leases, in one round trip. False for one that expired or was erased."""
        ...

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> CommitOutcome:
        """Stores a value, with its version, and ends the lease, atomically.

        A lease that has expired is no hindrance, as long as nobody else has stored anything since
        it was taken. The epoch of the value must be that of the value that it replaces.
        """
        ...

    async def give_up(self, lease: Lease, failure: str | None = None) -> None:
        """Ends a lease without a value; an error code is left for those who wait."""
        ...

    async def get_version(self, tenant: str, digest: bytes) -> bytes | None:
        """Returns the JSON of a version that something of the tenant was committed with."""
        ...

    async def announce(
        self, tenant: str, version: ProfileVersion, *, starting: bool, alive_s: float
    ) -> dict[bytes, int]:
        """Says that a process of a version is running; returns the order of those that run.

        A version that starts, and of which no process was running, becomes the newest. One that was
        running already keeps its place. So an upgrade makes the new version the newest, and going
        back makes the old one the newest again. A version that does not run hinders no other.

        Args:
            tenant: Whose profiles the process makes.
            version: Its version.
            starting: The process has just begun; else it only says that it is still there.
            alive_s: After this time without another call the process counts as ended.

        Returns:
            For the digest of each version that runs a number; a newer version has a larger one.
        """
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers, and WritesFail unless it keeps writes."""
        ...


class Interactions(Protocol):
    """Each user's newest interactions. Every method may raise StoreUnavailable."""

    async def append(
        self, tenant: str, events: Sequence[Event], *, epochs: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Adds events; one that is there already changes nothing.

        Events from before their user's erasure are left out, and so are all events of a user who
        was erased since the epochs were read.

        Args:
            tenant: Whose users they are.
            events: The events.
            epochs: For each user what `ProfileStore.epochs` returned when the events arrived; users
                who are not in it are not checked for an erasure since then.

        Returns:
            How many events of each user were not left out; users without any are not in it.
        """
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
    """The items that histories refer to. Every method may raise StoreUnavailable.

    The last change of each item is kept with a stamp, for as many items as `CHANGES_KEPT`. So
    processes can hold in memory which items changed since when, and which are withdrawn: those that
    were removed, are hidden, or have expired.
    """

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns catalogue items in the order of `ids`."""
        ...

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces catalogue items, each with its search terms, atomically."""
        ...

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item from the catalogue, and withdraws its id. Returns whether it was there."""
        ...

    async def changes(self, tenant: str, *, since: int, limit: int) -> ChangePage:
        """Returns up to `limit` changes after a stamp; of each item the last one alone."""
        ...

    async def withdrawn(
        self, tenant: str, *, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Returns some of the items that are withdrawn or will be, in no order, each at least once.

        Args:
            tenant: Whose items.
            cursor: From the page before; None for the first page.
            limit: About how many; a page may have more or fewer.

        Returns:
            Ids with `ItemChange.withdrawn_ms`, and the cursor of the next page; None at the end.
        """
        ...

    async def list_items(
        self, tenant: str, *, query: str, cursor: str | None, limit: int
    ) -> ItemPage:
        """Returns items in order of id; with a query, those whose title has words with its prefixes."""
        ...


class ActiveScorers(Protocol):
    """The scorers that all workers use. Every method may raise StoreUnavailable."""

    async def refs(self, tenant: str) -> ActiveRefs:
        """Returns the active bundle and the one before it."""
        ...

    async def activate(self, tenant: str, ref: ScorerRef) -> ActiveRefs:
        """Makes a bundle the active one, and the active one the previous one; returns both.

        To activate the active bundle changes nothing. Another content is another bundle, also under
        the same name.
        """
        ...

    async def swap(self, tenant: str, expected: ActiveRefs) -> bool:
        """Exchanges active and previous. False, changing nothing, when they are not as expected."""
        ...


class Erasures(Protocol):
    """The users who were erased, for as long as anything may still know them.

    Scorer bundles and exports are made from data of before; they leave out whom this names. Every
    method may raise StoreUnavailable.
    """

    async def erased_at(self, tenant: str, user_ids: Sequence[str]) -> list[int | None]:
        """Returns when each user was last erased, in Unix milliseconds; None for never."""
        ...

    async def page(
        self, tenant: str, *, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Returns some of the erased users with their times, in no order, each at least once.

        Args:
            tenant: Whose users.
            cursor: From the page before; None for the first page.
            limit: About how many; a page may have more or fewer.

        Returns:
            The users, and the cursor of the next page; None at the end.
        """
        ...

    async def copies(self) -> list[Copy]:
        """Returns which files and servers of the store may still hold what was erased."""
        ...


class Presence(Protocol):
    """Whether anybody waits for the model, in whatever process. May raise StoreUnavailable."""

    async def here(self, tenant: str) -> None:
        """Says that somebody waits for the model now."""
        ...

    async def quiet_s(self, tenant: str) -> float:
        """Returns for how many seconds nobody has said so; infinite after a minute."""
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
        """The active scorer and the one before it."""
        ...

    @property
    def erasures(self) -> Erasures:
        """Users who were erased."""
        ...

    @property
    def presence(self) -> Presence:
        """Whether anybody waits for the model."""
        ...

    async def erase(self, key: ProfileKey) -> bool:
        """Erases a user or an item from all stores but the catalogue, as one step.

        A tombstone takes the place of the profile, and its lease goes: a profile that is being
        generated, or waits for it, is not stored. Of a user go the interactions, the refreshes that
        wait or are under way, and the dead letters; the user is added to `erasures`.

        Returns:
            Whether there was a profile.

        Raises:
            StoreUnavailable: As the stores do.
        """
        ...

    async def fault(self) -> str | None:
        """Returns what must be changed before the stores can serve, as one line; None for nothing.

        Raises:
            StoreUnavailable: They cannot be asked now.
        """
        ...

    async def aclose(self) -> None:
        """Closes the connections that the stores share."""
        ...
