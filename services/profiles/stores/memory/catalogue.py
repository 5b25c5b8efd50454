"""The catalogue in the memory of this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.profiles.stores.base import ItemPage
from services.profiles.stores.item_changes import (
    ALWAYS,
    CHANGES_KEPT,
    ChangePage,
    ItemChange,
    withdrawn_ms,
)
from services.profiles.stores.search import from_cursor, matches, terms, to_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import Item


@dataclass(slots=True)
class _Changes:
    """The changes of one tenant's items: the stamp of each by id, in order, and who is withdrawn."""

    stamp: int = 0
    floor: int = 0
    stamps: dict[str, int] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)

    def note(self, item_id: str, from_ms: int | None, kept: int) -> None:
        self.stamp = max(self.stamp + 1, time.time_ns() // 1_000_000)
        self.stamps.pop(item_id, None)
        self.stamps[item_id] = self.stamp
        self.withdrawn.pop(item_id, None)
        if from_ms is not None:
            self.withdrawn[item_id] = from_ms
        if len(self.stamps) > kept:
            self.floor = self.stamps.pop(next(iter(self.stamps)))


class MemoryCatalogue:
    """Items in a dictionary; nothing outlives the process.

    Args:
        changes_kept: Items whose last change is kept.
    """

    def __init__(self, *, changes_kept: int = CHANGES_KEPT) -> None:
        self._items: dict[tuple[str, str], Item] = {}
        self._changes: dict[str, _Changes] = {}
        self._kept = changes_kept

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns items in order."""
        return [self._items.get((tenant, id_)) for id_ in ids]

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces items."""
        latest = {item.id: item for item in items}
        for item in latest.values():
            if self._items.get((tenant, item.id)) != item:
                self._items[tenant, item.id] = item
                self._of(tenant).note(item.id, withdrawn_ms(item), self._kept)

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item."""
        there = self._items.pop((tenant, id), None) is not None
        if there or self._of(tenant).withdrawn.get(id) != ALWAYS:
            self._of(tenant).note(id, ALWAYS, self._kept)
        return there

    async def changes(self, tenant: str, *, since: int, limit: int) -> ChangePage:
        """Returns changes after a stamp."""
        of = self._of(tenant)
        later = [(id_, stamp) for id_, stamp in of.stamps.items() if stamp > since][:limit]
        changes = tuple(ItemChange(id_, stamp, of.withdrawn.get(id_)) for id_, stamp in later)
        return ChangePage(of.stamp, of.floor, changes)

    async def withdrawn(
        self, tenant: str, *, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Returns some of the withdrawn items."""
        first = int(cursor or 0)
        found = list(self._of(tenant).withdrawn.items())
        end = first + limit
        return found[first:end], str(end) if end < len(found) else None

    def _of(self, tenant: str) -> _Changes:
        return self._changes.setdefault(tenant, _Changes())

    async def list_items(
        self, tenant: str, *, query: str, cursor: str | None, limit: int
    ) -> ItemPage:
        """Lists or searches, in order of id."""
        after = from_cursor(cursor).decode(errors="replace") if cursor else ""
        wanted = terms(query)
        found = sorted(
            (
                item
                for (owner, id_), item in self._items.items()
                if owner == tenant and id_ > after and matches(item.title, wanted)
            ),
            key=lambda item: item.id.encode(),
        )
        more = len(found) > limit
        return ItemPage(
            tuple(found[:limit]), to_cursor(found[limit - 1].id.encode()) if more else None
        )
