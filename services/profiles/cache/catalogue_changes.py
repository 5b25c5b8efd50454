"""What has changed in the catalogue, held in memory: which items, since when, and which are withdrawn.

A cache hit reads one key and no item. It is current unless one of the items that the profile was
made from has changed since; which items change, every process reads a few times a second. So nothing
is read on a hit, and in a busy catalogue only the profiles of the changed items are looked at again.
See docs/decisions/0024-catalogue-changes.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from services.profiles.errors import StoreUnavailable
from services.profiles.stores.item_changes import MARK_BYTES, mark
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Protocol

    from services.profiles.domain.profile import ProfileKey
    from services.profiles.stores.base import Catalogue
    from services.profiles.stores.codec import Stored
    from services.profiles.stores.item_changes import ItemChange

    class Follower(Protocol):
        """Hears of every item that is withdrawn, will be, or is not any more."""

        def follow(self, item_id: str, withdrawn_ms: int | None) -> None:
            """Takes note of one item."""
            ...


Currency = Literal["current", "changed", "unknown"]

_PAGE = 2_000


@dataclass(slots=True)
class _State:
    """What is known.

    Attributes:
        stamp: Of the last change that was read.
        floor: Changes up to this stamp are not known.
        changed: By mark: the stamp of the last change of an item.
        withdrawn: By id: from when on an item is withdrawn, in Unix milliseconds.
    """

    stamp: int = 0
    floor: int = 0
    changed: dict[bytes, int] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)


class CatalogueChanges:
    """Follows the changes of one tenant's catalogue.

    Args:
        catalogue: Where they are read.
        tenant: Whose items they are.
        poll_s: How often.
    """

    def __init__(self, *, catalogue: Catalogue, tenant: str, poll_s: float) -> None:
        self._catalogue = catalogue
        self._tenant = tenant
        self._poll_s = poll_s
        self._state = _State()
        self._known = False
        self._reading = asyncio.Lock()
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()

    @property
    def stamp(self) -> int:
        """The last change that is known: later ones have larger stamps."""
        return self._state.stamp

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Reads all changes that are kept, and follows later ones while the body runs."""
        await self.read()
        ended = asyncio.Event()
        task = asyncio.create_task(self._follow(ended))
        try:
            yield
        finally:
            # Told to stop, not cancelled: redis-py may lose a cancellation.
            ended.set()
            await task

    async def read(self) -> None:
        """Reads what has changed since the last call. Without the store, nothing new is known."""
        async with self._reading:
            try:
                if not self._known:
                    await self._begin()
                while not await self._read_page():
                    pass
            except StoreUnavailable as error:
                LOGGER.debug("the catalogue's changes are not read", extra=_why(error.detail))

    def currency(self, stored: Stored, key: ProfileKey, *, named: bool) -> Currency:
        """Returns whether a profile was made from what the catalogue has now.

        Args:
            stored: The profile.
            key: Whose it is.
            named: The request names what the profile is to be made from. Otherwise only the item
                itself counts for an item's profile.

        Returns:
            `unknown` for a profile that is older than the changes that are kept.
        """
        state = self._state
        if stored.stamp >= state.stamp:
            return "current"
        read = stored.marks
        if key.kind == "item" and not named:
            own = mark(key.id)
            # The item itself comes first, if it was read from the catalogue.
            read = own if read.startswith(own) else b""
        if not read:
            return "current"
        if stored.stamp < state.floor:
            return "unknown"
        changed, since = state.changed, stored.stamp
        # Of the hot path: a loop, since a generator would take three times as long.
        for at in range(0, len(read), MARK_BYTES):
            if changed.get(read[at : at + MARK_BYTES], 0) > since:
                return "changed"
        return "current"

    def withdrawn(self, item_id: str) -> bool:
        """Returns whether an item is removed, hidden or expired now."""
        from_ms = self._state.withdrawn.get(item_id)
        return from_ms is not None and from_ms <= time.time_ns() // 1_000_000

    def add_follower(self, follower: Follower) -> None:
        """Reports to a follower all items that are withdrawn or will be, and later changes."""
        for item_id, from_ms in self._state.withdrawn.items():
            follower.follow(item_id, from_ms)
        self._followers.add(follower)

    async def _follow(self, ended: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await ended.wait()
                    return
            try:
                await self.read()
            except Exception:  # noqa: BLE001 - logged; the worker must continue to follow
                LOGGER.exception("the catalogue's changes cannot be followed")

    async def _begin(self) -> None:
        """Reads everything anew: at the start, and when changes were missed."""
        # The stamp first: what changes while the rest is read is read once more.
        page = await self._catalogue.changes(self._tenant, since=0, limit=0)
        state = _State(stamp=page.floor, floor=page.floor)
        cursor = None
        while True:
            found, cursor = await self._catalogue.withdrawn(
                self._tenant, cursor=cursor, limit=_PAGE
            )
            state.withdrawn.update(found)
            if cursor is None:
                break
        before, self._state = self._state.withdrawn, state
        self._known = True
        for item_id in before.keys() | state.withdrawn.keys():
            if before.get(item_id) != state.withdrawn.get(item_id):
                self._notify(item_id, state.withdrawn.get(item_id))

    async def _read_page(self) -> bool:
        """Reads the next changes. Returns whether there are no more."""
        state = self._state
        page = await self._catalogue.changes(self._tenant, since=state.stamp, limit=_PAGE)
        if page.floor > state.stamp or page.stamp < state.stamp:
            LOGGER.info("the catalogue's changes are read from the beginning")
            await self._begin()
            return False
        for change in page.changes:
            self._note(change)
        if page.floor > state.floor:
            state.floor = page.floor
            state.changed = {
                one: stamp for one, stamp in state.changed.items() if stamp > page.floor
            }
        return len(page.changes) < _PAGE

    def _note(self, change: ItemChange) -> None:
        state = self._state
        state.changed[mark(change.item_id)] = change.stamp
        state.stamp = change.stamp
        if change.withdrawn_ms is None:
            if state.withdrawn.pop(change.item_id, None) is None:
                return
        else:
            state.withdrawn[change.item_id] = change.withdrawn_ms
        self._notify(change.item_id, change.withdrawn_ms)

    def _notify(self, item_id: str, withdrawn_ms: int | None) -> None:
        for follower in self._followers:
            follower.follow(item_id, withdrawn_ms)


def _why(detail: str) -> dict[str, dict[str, str]]:
    return {"data": {"why": detail}}
