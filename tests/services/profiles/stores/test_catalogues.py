"""What every catalogue does, for each of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Item
from services.profiles.errors import InvalidInput
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
