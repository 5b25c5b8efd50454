"""The catalogue in the memory of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.base import ItemPage
from services.profiles.stores.search import from_cursor, matches, terms, to_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import Item


class MemoryCatalogue:
    """Items in a dictionary; nothing outlives the process."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Item] = {}

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns items in order."""
        return [self._items.get((tenant, id_)) for id_ in ids]

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces items."""
        self._items.update({(tenant, item.id): item for item in items})

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item."""
        return self._items.pop((tenant, id), None) is not None

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
