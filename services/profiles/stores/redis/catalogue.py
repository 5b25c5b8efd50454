"""The catalogue in Redis: items by id, in order of id, and by the words of their titles."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from services.profiles.domain.profile import Item
from services.profiles.stores.base import ItemPage
from services.profiles.stores.redis import keys
from services.profiles.stores.search import from_cursor, matches, terms, to_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from services.profiles.stores.redis.client import Command, RedisClient

_SCAN_LIMIT = 5_000
"""Most index entries that one search reads before it returns a cursor."""

_SCAN_STEP = 250
"""Index entries that a search fetches at a time, whatever the size of the page."""


class RedisCatalogue:
    """A catalogue in Redis; `client` is shared, and closed by its owner."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns items in order, in one round trip."""
        if not ids:
            return []
        rows = await self._client.call("HMGET", keys.items(tenant), *ids)
        return [
            None if row is None else _item(id_, row) for id_, row in zip(ids, rows, strict=True)
        ]

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces items with their search terms in one transaction."""
        if not items:
            return
        latest = {item.id: item for item in items}
        before = await self.get_items(tenant, list(latest))
        added = {_term(word, item.id) for item in latest.values() for word in terms(item.title)}
        removed = {
            _term(word, old.id) for old in before if old is not None for word in terms(old.title)
        } - added
        rows = {
            item.id: json.dumps([item.title, item.category, item.description], ensure_ascii=False)
            for item in latest.values()
        }
        commands: list[Command] = [
            ("HSET", keys.items(tenant), *chain.from_iterable(rows.items())),
            ("ZADD", keys.item_order(tenant), *_without_score(rows)),
        ]
        if removed:
            commands.append(("ZREM", keys.item_terms(tenant), *removed))
        if added:
            commands.append(("ZADD", keys.item_terms(tenant), *_without_score(added)))
        await self._client.transaction(*commands, acknowledged=True)

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item with its search terms."""
        (item,) = await self.get_items(tenant, [id])
        if item is None:
            return False
        members = [_term(word, id) for word in terms(item.title)]
        commands: list[Command] = [
            ("HDEL", keys.items(tenant), id),
            ("ZREM", keys.item_order(tenant), id),
        ]
        if members:
            commands.append(("ZREM", keys.item_terms(tenant), *members))
        removed, *_ = await self._client.transaction(*commands, acknowledged=True)
        return bool(removed)

    async def list_items(
        self, tenant: str, *, query: str, cursor: str | None, limit: int
    ) -> ItemPage:
        """Lists in order of id, or searches in order of the longest term, then id."""
        wanted = terms(query)
        if not wanted:
            return await self._page(tenant, cursor, limit)
        # A cursor is a position among the entries of one term: all processes must choose the same.
        prefix = max(wanted, key=lambda term: (len(term), term)).encode()
        start = b"(" + from_cursor(cursor) if cursor else b"[" + prefix
        found: dict[str, Item] = {}
        for _ in range(0, _SCAN_LIMIT, _SCAN_STEP):
            members = await self._range(
                keys.item_terms(tenant), start, b"[" + prefix + b"\xff", _SCAN_STEP
            )
            ids = [member.split(b"\0", 1)[1].decode() for member in members]
            for member, item in zip(members, await self.get_items(tenant, ids), strict=True):
                start = b"(" + member
                # A title with two words of the prefix is listed twice; the index may be out of date.
                if (
                    item is not None
                    and _first_with(item, prefix) == member
                    and matches(item.title, wanted)
                ):
                    found[item.id] = item
                    if len(found) == limit:
                        return ItemPage(tuple(found.values()), to_cursor(member))
            if len(members) < _SCAN_STEP:
                return ItemPage(tuple(found.values()), None)
        return ItemPage(tuple(found.values()), to_cursor(start[1:]))

    async def _page(self, tenant: str, cursor: str | None, limit: int) -> ItemPage:
        start = b"(" + from_cursor(cursor) if cursor else b"-"
        ids = await self._range(keys.item_order(tenant), start, b"+", limit + 1)
        items = await self.get_items(tenant, [id_.decode() for id_ in ids[:limit]])
        return ItemPage(
            tuple(item for item in items if item is not None),
            to_cursor(ids[limit - 1]) if len(ids) > limit else None,
        )

    async def _range(self, name: bytes, start: bytes, end: bytes, limit: int) -> list[bytes]:
        members: list[bytes] = await self._client.call(
            "ZRANGEBYLEX", name, start, end, "LIMIT", 0, limit
        )
        return members


def _without_score(members: Iterable[bytes | str]) -> Iterator[bytes | str | int]:
    """Returns members for a ZADD in order of their bytes: all have the same score."""
    for member in members:
        yield 0
        yield member


def _term(word: str, id_: str) -> bytes:
    return word.encode() + b"\0" + id_.encode()


def _first_with(item: Item, prefix: bytes) -> bytes | None:
    """Returns the index entry under which an item is listed for a prefix."""
    words = (word for word in terms(item.title) if word.encode().startswith(prefix))
    return min((_term(word, item.id) for word in words), default=None)


@lru_cache(maxsize=4096)  # the same films are in many histories; a changed item is another row
def _item(id_: str, row: bytes) -> Item:
    return Item(id_, *json.loads(row))
