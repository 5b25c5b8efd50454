"""What erasing does in every deployment: one call, and nothing comes back by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Item, ProfileKey
from services.profiles.stores.base import Event
from tests.services.profiles.stores.test_profile_stores import VERSION, leased, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio


async def test_erasing_what_is_not_there_says_so(deploy: Deploy, tenant: str) -> None:
    stores = deploy().one
    for kind in ("user", "item"):
        assert await stores.erase(ProfileKey(tenant, kind, "nobody")) is False


async def test_nothing_is_left_of_who_was_erased(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, _ = deployment.profiles
    interactions = deployment.one.interactions
    key, other = (ProfileKey(tenant, "user", name) for name in ("u", "v"))
    for one in (key, other):
        await stored(store, one, b"value")
        await interactions.append(tenant, [Event(one.id, "a", 1)])
    assert await deployment.other.erase(key) is True
    assert await deployment.one.erase(key) is False
    assert await store.get_many([key, other]) == [None, b"value"]
    assert await interactions.history(tenant, "u", limit=9) == []
    assert await interactions.history(tenant, "v", limit=9) == ["a"]


async def test_an_item_is_another_than_the_user_of_its_id(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    stores, (store, _) = deployment.one, deployment.profiles
    user, item = (ProfileKey(tenant, kind, "x") for kind in ("user", "item"))
    for one in (user, item):
        await stored(store, one, b"value")
    await stores.interactions.append(tenant, [Event("x", "a", 1)])
    await stores.refreshes.schedule(tenant, ["x"])
    await stores.catalogue.put_items(tenant, [Item("x", "Heat (1995)")])
    assert await stores.erase(item) is True
    assert await store.get_many([user, item]) == [b"value", None]
    assert await stores.interactions.history(tenant, "x", limit=9) == ["a"]
    assert (await stores.refreshes.take(tenant, "w", most=0, holding=())).waiting == 1
    assert await stores.catalogue.get_items(tenant, ["x"]) == [Item("x", "Heat (1995)")]


async def test_erasing_fences_whoever_is_generating(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    await stored(store, key, b"old")
    lease = await leased(store, key)
    assert await deployment.other.erase(key) is True
    assert not await store.renew(lease)
    assert not await store.commit(lease, b"new", ttl_s=60, version=VERSION)
    assert await store.get(key) is None
    await stored(other, key, b"asked for again")


async def test_erasing_takes_the_failure_of_the_last_try_with_it(
    deploy: Deploy, tenant: str
) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    await store.give_up(await leased(store, key), "model-unavailable")
    await deployment.one.erase(key)
    claim = await other.acquire(key)
    assert claim.lease is not None
    assert (claim.value, claim.failure) == (None, None)


async def test_an_expired_profile_was_not_there(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    key = ProfileKey(tenant, "user", "u")
    await stored(deployment.one.profiles, key, b"value", ttl_s=1)
    await deployment.wait(1.1)
    assert await deployment.one.erase(key) is False


async def test_who_asks_meanwhile_finds_all_or_nothing(deploy: Deploy, tenant: str) -> None:
    """A reader that sees no profile any more sees no interactions either."""
    deployment = deploy()
    key = ProfileKey(tenant, "user", "u")
    seen = []

    async def look() -> None:
        erased = False
        while not erased:
            value = await deployment.other.profiles.get(key)
            history = await deployment.other.interactions.history(tenant, "u", limit=9)
            erased = value is None
            seen.append((erased, not history))
            await asyncio.sleep(0)

    for _ in range(5):
        await stored(deployment.one.profiles, key, b"value")
        await deployment.one.interactions.append(tenant, [Event("u", "a", 1)])
        looking = asyncio.create_task(look())
        await asyncio.sleep(0)
        assert await deployment.one.erase(key)
        await looking
    assert (True, False) not in seen
    assert (True, True) in seen
