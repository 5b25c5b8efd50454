"""What every catalogue does, for each of them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Item
from services.profiles.errors import InvalidInput
from services.profiles.stores.item_changes import ChangePage
from services.profiles.stores.search import matches, terms, to_cursor

if TYPE_CHECKING:
    from services.profiles.stores.base import Catalogue

pytestmark = pytest.mark.anyio

FILMS = [
    Item("1", "Toy Story (1995)", "Animation, Children's, Comedy", "Toys\nalive"),
    Item("2", "Amélie (2001)", "Comedy, Romance"),
    Item("a/b", "Story of Toys, a Toyshop Story"),
    Item("a:b c", "Das Boot: große Fahrt"),
    Item("ñ", "千と千尋の神隠し"),
]


async def listed(catalogue: Catalogue, tenant: str, query: str = "", limit: int = 50) -> list[str]:
    """Returns the ids of all pages."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await catalogue.list_items(tenant, query=query, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        ids += [item.id for item in page.items]
        if page.cursor is None:
            return ids
        cursor = page.cursor


async def test_items_are_read_back_in_order(catalogue: Catalogue, tenant: str) -> None:
    await catalogue.put_items(tenant, FILMS)
    await catalogue.put_items(tenant, [])
    assert await catalogue.get_items(tenant, []) == []
    ids = ["ñ", "missing", "1", "1"]
    found = await catalogue.get_items(tenant, ids)
    assert found == [FILMS[4], None, FILMS[0], FILMS[0]]
    assert await catalogue.get_items(tenant + "x", ["1"]) == [None]


async def test_an_item_is_replaced_whole(catalogue: Catalogue, tenant: str) -> None:
    await catalogue.put_items(tenant, FILMS)
    new = Item("1", "Casino (1995)")
    await catalogue.put_items(tenant, [Item("1", "Overwritten at once"), new])
    assert await catalogue.get_items(tenant, ["1"]) == [new]
    assert await listed(catalogue, tenant, "toy story") == ["a/b"]
    assert await listed(catalogue, tenant, "overwritten") == []
    assert await listed(catalogue, tenant, "1995 casino") == ["1"]


async def test_an_item_is_removed_with_all_that_finds_it(catalogue: Catalogue, tenant: str) -> None:
    await catalogue.put_items(tenant, FILMS)
    assert await catalogue.delete_item(tenant, "1") is True
    assert await catalogue.delete_item(tenant, "1") is False
    assert await catalogue.get_items(tenant, ["1"]) == [None]
    assert await listed(catalogue, tenant) == ["2", "a/b", "a:b c", "ñ"]
    assert await listed(catalogue, tenant, "toy") == ["a/b"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("toy", {"1", "a/b"}),
        ("TOY  stor", {"1", "a/b"}),
        ("amelie", {"2"}),
        ("AMÉLIE", {"2"}),
        ("grosse", {"a:b c"}),
        ("千と", {"ñ"}),
        ("oy", set()),
        ("toy boot", set()),
        ("(1995)", {"1"}),
        ("…!", {"1", "2", "a/b", "a:b c", "ñ"}),
    ],
)
async def test_search_finds_the_beginnings_of_words(
    catalogue: Catalogue, tenant: str, query: str, found: set[str]
) -> None:
    await catalogue.put_items(tenant, FILMS)
    ids = await listed(catalogue, tenant, query)
    assert set(ids) == found
    assert len(ids) == len(found)


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_pages_hold_everything_once(catalogue: Catalogue, tenant: str, limit: int) -> None:
    rng = random.Random(7)
    words = ["red", "redder", "reddest", "blue", "green", "ré"]
    items = [
        Item("é" * 250 + str(number), " ".join(rng.choices(words, k=3))) for number in range(60)
    ]
    await catalogue.put_items(tenant, items)
    everything = sorted((item.id for item in items), key=str.encode)
    assert await listed(catalogue, tenant, limit=limit) == everything
    for query in ("red", "re gre", "blue reddest"):
        expected = {item.id for item in items if matches(item.title, terms(query))}
        assert 0 < len(expected) < len(items)
        ids = await listed(catalogue, tenant, query, limit)
        assert len(ids) == len(expected)
        assert set(ids) == expected


@pytest.mark.parametrize("cursor", ["!", "a", "abc$", "é", "YQ==", "Y Q", "x" * 5])
async def test_a_made_up_cursor_is_refused(catalogue: Catalogue, tenant: str, cursor: str) -> None:
    for query in ("", "toy"):
        with pytest.raises(InvalidInput):
            await catalogue.list_items(tenant, query=query, cursor=cursor, limit=5)


async def test_a_place_that_is_gone_is_still_a_place(catalogue: Catalogue, tenant: str) -> None:
    await catalogue.put_items(tenant, FILMS)
    page = await catalogue.list_items(tenant, query="", cursor=to_cursor(b"a"), limit=2)
    assert [item.id for item in page.items] == ["a/b", "a:b c"]


@pytest.mark.parametrize(
    "item",
    [
        Item("1", "Heat", hidden=True),
        Item("1", "Heat", "Crime", expires_at=datetime(2026, 11, 30, 12, 0, 0, 1000, UTC)),
        Item("1", "Heat", hidden=True, expires_at=datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
async def test_what_withdraws_an_item_is_read_back(
    catalogue: Catalogue, tenant: str, item: Item
) -> None:
    await catalogue.put_items(tenant, [item])
    assert await catalogue.get_items(tenant, ["1"]) == [item]
    assert (await catalogue.list_items(tenant, query="heat", cursor=None, limit=1)).items == (item,)


async def changed(
    catalogue: Catalogue, tenant: str, since: int = 0
) -> list[tuple[str, int | None]]:
    page = await catalogue.changes(tenant, since=since, limit=1000)
    stamps = [change.stamp for change in page.changes]
    assert stamps == sorted(set(stamps))
    assert all(stamp > since for stamp in stamps)
    return [(change.item_id, change.withdrawn_ms) for change in page.changes]


async def test_only_what_really_changes_is_a_change(catalogue: Catalogue, tenant: str) -> None:
    assert await catalogue.changes(tenant, since=0, limit=9) == ChangePage(0, 0, ())
    await catalogue.put_items(tenant, FILMS)
    before = await catalogue.changes(tenant, since=0, limit=9)
    assert [change.item_id for change in before.changes] == [film.id for film in FILMS]
    assert before.stamp == before.changes[-1].stamp
    await catalogue.put_items(tenant, FILMS)
    assert await catalogue.changes(tenant, since=0, limit=9) == before
    await catalogue.put_items(tenant, [FILMS[0], replace(FILMS[1], category="Drama"), FILMS[2]])
    assert await changed(catalogue, tenant, since=before.stamp) == [("2", None)]
    # Of each item the last change alone.
    assert [id_ for id_, _ in await changed(catalogue, tenant)] == ["1", "a/b", "a:b c", "ñ", "2"]
    assert await changed(catalogue, tenant + "x") == []


async def test_changes_come_in_pages_and_none_is_lost(catalogue: Catalogue, tenant: str) -> None:
    await catalogue.put_items(tenant, [Item(str(number), "Heat") for number in range(25)])
    since, found = 0, []
    while page := (await catalogue.changes(tenant, since=since, limit=4)).changes:
        assert len(page) <= 4
        found += [change.item_id for change in page]
        since = page[-1].stamp
    assert found == [str(number) for number in range(25)]


async def test_the_oldest_changes_are_let_go_and_the_floor_says_so(
    few_changes: Catalogue, tenant: str
) -> None:
    for number in range(8):
        await few_changes.put_items(tenant, [Item(str(number), "Heat")])
        page = await few_changes.changes(tenant, since=0, limit=99)
        assert (page.floor == 0) is (number < 5)
    assert [change.item_id for change in page.changes] == ["3", "4", "5", "6", "7"]
    assert 0 < page.floor < page.changes[0].stamp
    # A change of a kept item pushes nothing out.
    await few_changes.put_items(tenant, [Item("3", "Alien")])
    again = await few_changes.changes(tenant, since=0, limit=99)
    assert again.floor == page.floor
    assert [change.item_id for change in again.changes] == ["4", "5", "6", "7", "3"]


async def test_what_is_withdrawn_is_known_by_changes_and_as_a_whole(
    catalogue: Catalogue, tenant: str
) -> None:
    at = datetime(2026, 11, 30, tzinfo=UTC)
    items = [Item("hidden", "A", hidden=True), Item("later", "B", expires_at=at), Item("no", "C")]
    await catalogue.put_items(tenant, items)
    at_ms = int(at.timestamp() * 1000)
    assert await changed(catalogue, tenant) == [("hidden", 0), ("later", at_ms), ("no", None)]
    assert await withdrawn(catalogue, tenant) == {"hidden": 0, "later": at_ms}

    await catalogue.delete_item(tenant, "no")
    await catalogue.put_items(tenant, [Item("hidden", "A"), replace(items[1], hidden=True)])
    assert await withdrawn(catalogue, tenant) == {"no": 0, "later": 0}
    await catalogue.put_items(tenant, [Item("no", "C"), Item("later", "B")])
    assert await withdrawn(catalogue, tenant) == {}
    assert dict(await changed(catalogue, tenant)) == dict.fromkeys(["hidden", "later", "no"])


async def test_an_id_that_is_not_there_is_withdrawn_too_and_once(
    catalogue: Catalogue, tenant: str
) -> None:
    """A bundle may have items that the catalogue never had."""
    assert await catalogue.delete_item(tenant, "elsewhere") is False
    page = await catalogue.changes(tenant, since=0, limit=9)
    assert await withdrawn(catalogue, tenant) == {"elsewhere": 0}
    assert await catalogue.delete_item(tenant, "elsewhere") is False
    assert await catalogue.changes(tenant, since=0, limit=9) == page


async def test_pages_of_withdrawn_items_hold_all_of_them(catalogue: Catalogue, tenant: str) -> None:
    await catalogue.put_items(tenant, [Item(str(n), "Heat", hidden=True) for n in range(700)])
    assert await withdrawn(catalogue, tenant, limit=50) == {str(n): 0 for n in range(700)}


async def test_of_many_writers_none_loses_a_change(catalogue: Catalogue, tenant: str) -> None:
    async def write(number: int) -> None:
        await catalogue.put_items(tenant, [Item(str(number % 7), f"Heat {number}")])

    await asyncio.gather(*(write(number) for number in range(40)))
    page = await catalogue.changes(tenant, since=0, limit=99)
    assert {change.item_id for change in page.changes} == {str(number) for number in range(7)}
    assert len({change.stamp for change in page.changes}) == 7
    assert page.stamp == max(change.stamp for change in page.changes)


async def withdrawn(catalogue: Catalogue, tenant: str, limit: int = 9) -> dict[str, int]:
    found: dict[str, int] = {}
    cursor = None
    while True:
        page, cursor = await catalogue.withdrawn(tenant, cursor=cursor, limit=limit)
        found.update(page)
        if cursor is None:
            return found
