"""The catalogue in Redis: items by id, in order of id, and by the words of their titles.

Each write is one script, which also notes what has really changed: which item, under a stamp that is
larger than all before, and from when on it is withdrawn.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from reclm_client.schemas.fields import from_milliseconds, to_milliseconds
from services.profiles.domain.profile import Item
from services.profiles.stores.base import ItemPage
from services.profiles.stores.item_changes import CHANGES_KEPT, ChangePage, ItemChange, withdrawn_ms
from services.profiles.stores.redis import keys
from services.profiles.stores.search import from_cursor, matches, terms, to_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.stores.redis.client import RedisClient

_SCAN_LIMIT = 5_000
"""Most index entries that one search reads before it returns a cursor."""

_SCAN_STEP = 250
"""Index entries that a search fetches at a time, whatever the size of the page."""

# A stamp is the time in milliseconds, or one more than the stamp before. So a server that lost its
# newest stamps with a failover does not give them out again.
_NOTE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = tonumber(redis.call('HGET', KEYS[5], 'stamp') or '0')
local function note(id, from)
  stamp = math.max(stamp + 1, now)
  redis.call('ZADD', KEYS[4], string.format('%.0f', stamp), id)
  if from == '' then redis.call('ZREM', KEYS[6], id) else redis.call('ZADD', KEYS[6], from, id) end
end
local function finish()
  redis.call('HSET', KEYS[5], 'stamp', string.format('%.0f', stamp))
  local over = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[1])
  if over > 0 then
    local last = redis.call('ZRANGE', KEYS[4], over - 1, over - 1, 'WITHSCORES')
    redis.call('HSET', KEYS[5], 'floor', string.format('%.0f', tonumber(last[2])))
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, over - 1)
  end
end
"""
# KEYS: items, order, terms, changes, stamps, withdrawn. ARGV: changes kept, number of items, then for
# each its id, row and from when on it is withdrawn; number of terms to remove, those, terms to add.
_PUT = (
    _NOTE
    + """
local at, changed = 3, false
for _ = 1, tonumber(ARGV[2]) do
  local id, row = ARGV[at], ARGV[at + 1]
  if redis.call('HGET', KEYS[1], id) ~= row then
    redis.call('HSET', KEYS[1], id, row)
    redis.call('ZADD', KEYS[2], 0, id)
    note(id, ARGV[at + 2])
    changed = true
  end
  at = at + 3
end
local last = at + tonumber(ARGV[at])
for place = at + 1, last do redis.call('ZREM', KEYS[3], ARGV[place]) end
for place = last + 1, #ARGV do redis.call('ZADD', KEYS[3], 0, ARGV[place]) end
if changed then finish() end
"""
)
# KEYS: as above. ARGV: changes kept, id, terms.
_DELETE = (
    _NOTE
    + """
local id = ARGV[2]
local removed = redis.call('HDEL', KEYS[1], id)
redis.call('ZREM', KEYS[2], id)
for place = 3, #ARGV do redis.call('ZREM', KEYS[3], ARGV[place]) end
if removed == 1 or redis.call('ZSCORE', KEYS[6], id) ~= '0' then
  note(id, '0')
  finish()
end
return removed
"""
)
# KEYS: changes, stamps, withdrawn. ARGV: since, limit.
_CHANGES = """
local stamps = redis.call('HMGET', KEYS[2], 'stamp', 'floor')
local found = {stamps[1] or '0', stamps[2] or '0'}
local changes = redis.call(
  'ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for place = 1, #changes, 2 do
  found[#found + 1] = changes[place]
  found[#found + 1] = changes[place + 1]
  found[#found + 1] = redis.call('ZSCORE', KEYS[3], changes[place]) or ''
end
return found
"""


class RedisCatalogue:
    """A catalogue in Redis.

    Args:
        client: Shared with the other stores, closed by its owner.
        changes_kept: Items whose last change is kept.
    """

    def __init__(self, client: RedisClient, *, changes_kept: int = CHANGES_KEPT) -> None:
        self._client = client
        self._kept = changes_kept

    async def get_items(self, tenant: str, ids: Sequence[str]) -> list[Item | None]:
        """Returns items in order, in one round trip."""
        if not ids:
            return []
        rows = await self._client.call("HMGET", keys.items(tenant), *ids)
        return [
            None if row is None else _item(id_, row) for id_, row in zip(ids, rows, strict=True)
        ]

    async def put_items(self, tenant: str, items: Sequence[Item]) -> None:
        """Adds or replaces items with their search terms in one script."""
        if not items:
            return
        latest = {item.id: item for item in items}
        before = await self.get_items(tenant, list(latest))
        added = {_term(word, item.id) for item in latest.values() for word in terms(item.title)}
        removed = {
            _term(word, old.id) for old in before if old is not None for word in terms(old.title)
        } - added
        rows: list[bytes | int] = []
        for item in latest.values():
            from_ms = withdrawn_ms(item)
            rows += [item.id.encode(), _row(item), b"" if from_ms is None else from_ms]
        await self._client.write(
            _PUT, _names(tenant), self._kept, len(latest), *rows, len(removed), *removed, *added
        )

    async def delete_item(self, tenant: str, id: str) -> bool:  # noqa: A002 - the field's name
        """Removes an item with its search terms in one script."""
        (item,) = await self.get_items(tenant, [id])
        members = [] if item is None else [_term(word, id) for word in terms(item.title)]
        return bool(
            await self._client.write(_DELETE, _names(tenant), self._kept, id.encode(), *members)
        )

    async def changes(self, tenant: str, *, since: int, limit: int) -> ChangePage:
        """Returns changes after a stamp, in one round trip."""
        names = [keys.item_changes(tenant), keys.item_stamps(tenant), keys.items_withdrawn(tenant)]
        stamp, floor, *flat = await self._client.run(_CHANGES, names, since, limit)
        changes = tuple(
            ItemChange(id_.decode(), int(at), int(from_ms) if from_ms else None)
            for id_, at, from_ms in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        )
        return ChangePage(int(stamp), int(floor), changes)

    async def withdrawn(
        self, tenant: str, *, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Returns some of the withdrawn items, by ZSCAN."""
        after, found = await self._client.call(
            "ZSCAN", keys.items_withdrawn(tenant), cursor or "0", "COUNT", limit
        )
        return [(id_.decode(), int(from_ms)) for id_, from_ms in found], str(
            after
        ) if after else None

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


def _term(word: str, id_: str) -> bytes:
    return word.encode() + b"\0" + id_.encode()


def _first_with(item: Item, prefix: bytes) -> bytes | None:
    """Returns the index entry under which an item is listed for a prefix."""
    words = (word for word in terms(item.title) if word.encode().startswith(prefix))
    return min((_term(word, item.id) for word in words), default=None)


def _names(tenant: str) -> list[bytes]:
    return [
        keys.items(tenant),
        keys.item_order(tenant),
        keys.item_terms(tenant),
        keys.item_changes(tenant),
        keys.item_stamps(tenant),
        keys.items_withdrawn(tenant),
    ]


def _row(item: Item) -> bytes:
    row: list[object] = [item.title, item.category, item.description]
    if item.hidden or item.expires_at is not None:
        expires = None if item.expires_at is None else to_milliseconds(item.expires_at)
        row += [item.hidden, expires]
    return json.dumps(row, ensure_ascii=False).encode()


@lru_cache(maxsize=4096)  # the same films are in many histories; a changed item is another row
def _item(id_: str, row: bytes) -> Item:
    title, category, description, *rest = json.loads(row)
    if not rest:
        return Item(id_, title, category, description)
    hidden, expires = rest
    expires_at = None if expires is None else from_milliseconds(expires)
    return Item(id_, title, category, description, hidden, expires_at)
