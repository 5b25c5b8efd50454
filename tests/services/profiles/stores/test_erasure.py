"""What erasing does in every deployment: one call, and nothing comes back by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Item, ProfileKey
from services.profiles.stores import codec
from services.profiles.stores.base import Event
from tests.services.profiles.stores.values import VERSION, leased, stored, value

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
        await stored(store, one)
        await interactions.append(tenant, [Event(one.id, "a", 1)])
    assert await deployment.other.erase(key) is True
    assert await deployment.one.erase(key) is False
    assert list(map(codec.look, await store.get_many([key, other]))) == [
        None,
        codec.look(value("value")),
    ]
    assert await interactions.history(tenant, "u", limit=9) == []
    assert await interactions.history(tenant, "v", limit=9) == ["a"]


async def test_an_item_is_another_than_the_user_of_its_id(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    stores, (store, _) = deployment.one, deployment.profiles
    user, item = (ProfileKey(tenant, kind, "x") for kind in ("user", "item"))
    for one in (user, item):
        await stored(store, one)
    await stores.interactions.append(tenant, [Event("x", "a", 1)])
    await stores.refreshes.schedule(tenant, ["x"])
    await stores.catalogue.put_items(tenant, [Item("x", "Heat (1995)")])
    assert await stores.erase(item) is True
    assert list(map(codec.look, await store.get_many([user, item]))) == [
        codec.look(value("value")),
        None,
    ]
    assert await stores.interactions.history(tenant, "x", limit=9) == ["a"]
    assert (await stores.refreshes.take(tenant, "w", most=0, holding=())).waiting == 1
    assert await stores.catalogue.get_items(tenant, ["x"]) == [Item("x", "Heat (1995)")]


async def test_erasing_fences_whoever_is_generating(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    await stored(store, key, "old")
    lease = await leased(store, key)
    assert await deployment.other.erase(key) is True
    assert await store.renew([lease]) == [False]
    assert await store.commit(lease, value("new"), ttl_s=60, version=VERSION) == "erased"
    assert codec.look(await store.get(key)) is None
    await stored(other, key, "asked for again")


async def test_erasing_fences_who_takes_the_lease_afterwards(deploy: Deploy, tenant: str) -> None:
    """A request of before the erasure waited for another one's lease, and gets it after."""
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    begun_before = value("old life")
    await deployment.other.erase(key)
    lease = await leased(store, key)
    assert await store.commit(lease, begun_before, ttl_s=60, version=VERSION) == "erased"
    assert (await other.acquire(key)).lease is not None, "the lease is free"


async def test_the_fence_outlives_the_profile_of_who_comes_back(
    deploy: Deploy, tenant: str
) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    begun_before = value("old life")
    await deployment.one.erase(key)
    new = await stored(other, key, "new life")
    lease = await leased(store, key)
    assert await store.commit(lease, begun_before, ttl_s=60, version=VERSION) == "erased"
    assert await store.get(key) == new


async def test_each_erasure_is_another(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, _ = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    seen = [0]
    for _ in range(3):
        await deployment.one.erase(key)
        (epoch,) = await store.epochs([key])
        assert epoch > seen[-1], "also within a millisecond"
        assert epoch == codec.epoch_of(await store.get(key))
        seen.append(epoch)
    lease = await leased(store, key)
    late = value("of before the last", epoch=seen[2])
    assert await store.commit(lease, late, ttl_s=60, version=VERSION) == "erased"
    assert await store.epochs([]) == []


async def test_an_erasure_is_forgotten_in_the_end(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(erasure_ttl_s=3600)
    if deployment.clock is None:
        pytest.skip("the clock of a server cannot be set; the memory stores hold this")
    key = ProfileKey(tenant, "user", "u")
    await deployment.one.erase(key)
    await deployment.wait(3601)
    assert await deployment.one.profiles.get(key) is None
    assert await deployment.one.erasures.erased_at(tenant, ["u"]) != [None], "the list remains"


async def test_events_of_before_an_erasure_are_left_out(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    stores = deployment.one
    user = ProfileKey(tenant, "user", "u")
    seen = dict(zip("uv", await stores.profiles.epochs([user, replace(user, id="v")]), strict=True))
    await stores.erase(user)
    (at,) = await stores.erasures.erased_at(tenant, ["u"])
    assert at is not None
    # A queue that is played again: the times are those of then.
    replayed = [Event("u", "a", at - 1), Event("u", "b", at), Event("v", "a", at)]
    assert await stores.interactions.append(tenant, replayed) == {"v": 1}
    # A request that was under way: its events have the time at which it came, by another clock.
    under_way = [Event("u", "a", at + 5_000), Event("v", "b", at + 5_000)]
    assert await stores.interactions.append(tenant, under_way, epochs=seen) == {"v": 1}
    assert await stores.interactions.history(tenant, "u", limit=9) == []
    again = dict(zip("u", await stores.profiles.epochs([user]), strict=True))
    new_life = [Event("u", "a", at + 1), Event("u", "c", at - 1)]
    assert await stores.interactions.append(tenant, new_life, epochs=again) == {"u": 1}
    assert await stores.interactions.history(tenant, "u", limit=9) == ["a"]
    assert await stores.interactions.append(tenant, []) == {}


async def test_erased_users_are_listed(deploy: Deploy, tenant: str) -> None:
    stores = deploy().one
    users = {f"user {n}: Zoë" for n in range(25)}
    for name in users:
        await stores.erase(ProfileKey(tenant, "user", name))
    await stores.erase(ProfileKey(tenant, "item", "no user"))
    found: dict[str, int] = {}
    cursor = None
    while True:
        page, cursor = await stores.erasures.page(tenant, cursor=cursor, limit=10)
        found.update(page)
        if cursor is None:
            break
    assert set(found) == users
    assert await stores.erasures.erased_at(tenant, [*found, "other"]) == [*found.values(), None]
    assert await stores.erasures.erased_at(tenant, []) == []
    assert await stores.erasures.page(tenant + "x", cursor=None, limit=10) == ([], None)


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
    assert (codec.look(claim.value), claim.failure) == (None, None)


async def test_an_expired_profile_was_not_there(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    key = ProfileKey(tenant, "user", "u")
    await stored(deployment.one.profiles, key, ttl_s=1)
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
            found = await deployment.other.profiles.get(key)
            history = await deployment.other.interactions.history(tenant, "u", limit=9)
            erased = codec.look(found) is None
            seen.append((erased, not history))
            await asyncio.sleep(0)

    for _ in range(5):
        await stored(deployment.one.profiles, key)
        await deployment.one.interactions.append(tenant, [Event("u", "a", 1)])
        looking = asyncio.create_task(look())
        await asyncio.sleep(0)
        assert await deployment.one.erase(key)
        await looking
    assert (True, False) not in seen
    assert (True, True) in seen
