"""What every store of profiles does, for each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores.base import Claim
from tests.services.profiles.stores.values import VERSION, leased, stored, value, version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.profiles.domain.profile import ProfileVersion
    from services.profiles.stores.base import Lease
    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio


async def until(deployment: Deployment, holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await deployment.wait(0.02)


async def test_what_was_never_stored_is_not_there(deploy: Deploy, tenant: str) -> None:
    store, _ = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    assert await store.get(key) is None
    assert await store.get_many([key, key]) == [None, None]
    assert await store.get_many([]) == []
    assert await store.get_version(tenant, bytes(8)) is None
    await store.ping()


async def test_values_are_read_back_in_order(deploy: Deploy, tenant: str) -> None:
    store, other = deploy().profiles
    names = ["a", "b", "a:b", "a/b", "a b", "Zoë", "u:a", "\u202eright", "x" * 256]
    keys = [ProfileKey(tenant, kind, name) for kind in ("user", "item") for name in names]
    values: list[bytes | None] = [
        await stored(store, key, f"\x00 {number}") for number, key in enumerate(keys)
    ]
    missing = ProfileKey(tenant, "user", "missing")
    assert await other.get_many([*keys, missing]) == [*values, None]
    assert await asyncio.gather(*map(other.get, keys)) == values
    assert await other.get(ProfileKey(tenant + "x", "user", "a")) is None


async def test_one_of_many_gets_the_lease(deploy: Deploy, tenant: str) -> None:
    stores = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    claims = await asyncio.gather(*(stores[n % 2].acquire(key) for n in range(20)))
    assert sum(claim.lease is not None for claim in claims) == 1
    assert [claim for claim in claims if claim.lease is None] == [Claim(None, None, held=True)] * 19


async def test_a_commit_stores_and_ends_the_lease(deploy: Deploy, tenant: str) -> None:
    store, other = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    lease = await leased(store, key)
    assert await store.commit(lease, value("v"), ttl_s=60, version=VERSION) == "stored"
    assert await other.get(key) == value("v")
    assert await other.get_version(tenant, VERSION.digest()) == VERSION.to_json()
    assert await other.get_version(f"{tenant}-2", VERSION.digest()) is None
    assert await store.commit(lease, value("late"), ttl_s=60, version=VERSION) == "overtaken"
    assert await store.renew([lease]) == [False]
    assert await store.peek(key) == Claim(None, value("v"))
    claim = await other.acquire(key)
    assert claim.lease is not None
    assert claim.value == value("v")
    assert await store.acquire(key) == Claim(None, value("v"), held=True)
    assert await store.peek(key) == Claim(None, value("v"), held=True)


async def test_a_renewed_lease_outlives_its_time(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(lease_s=2.0)
    store, other = deployment.profiles
    key, another = (ProfileKey(tenant, "user", name) for name in "uv")
    lease, second = await leased(store, key), await leased(store, another)
    await store.give_up(second)
    for _ in range(3):
        await deployment.wait(0.8)
        assert await store.renew([second, lease]) == [False, True]
    assert await store.renew([]) == []
    assert (await other.acquire(key)).lease is None


async def test_who_let_a_lease_run_out_cannot_harm_the_next(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(lease_s=0.3)
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    dead = await leased(store, key)
    successor: list[Lease] = []

    async def taken() -> bool:
        claim = await other.acquire(key)
        if claim.lease is not None:
            successor.append(claim.lease)
        return bool(successor)

    await until(deployment, taken)
    assert await store.renew([dead]) == [False]
    await store.give_up(dead, "model-unavailable")
    assert await store.get(key) is None
    assert await other.commit(successor[0], value("good"), ttl_s=60, version=VERSION) == "stored"
    assert await store.commit(dead, value("late"), ttl_s=60, version=VERSION) == "overtaken"
    assert await store.get(key) == value("good")


@pytest.mark.parametrize("before", [False, True])
async def test_who_let_a_lease_run_out_may_store_if_nobody_else_has(
    deploy: Deploy, tenant: str, *, before: bool
) -> None:
    deployment = deploy(lease_s=0.3)
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    if before:
        await stored(store, key, "old")
    slow = await leased(store, key)

    async def expired() -> bool:
        return not (await other.peek(key)).held

    await until(deployment, expired)
    second = await leased(other, key)
    assert await store.commit(slow, value("slow"), ttl_s=60, version=VERSION) == "stored"
    assert await store.get(key) == value("slow")
    assert await other.renew([second]) == [True], "the lease of another is left to it"
    assert await other.commit(second, value("next"), ttl_s=60, version=VERSION) == "stored"


async def test_a_late_result_takes_the_place_of_a_failure(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(lease_s=0.3)
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    slow = await leased(store, key)
    failing: list[Lease] = []

    async def taken() -> bool:
        claim = await other.acquire(key)
        if claim.lease is not None:
            failing.append(claim.lease)
        return bool(failing)

    await until(deployment, taken)
    await other.give_up(failing[0], "model-unavailable")
    assert await store.commit(slow, value("slow"), ttl_s=60, version=VERSION) == "stored"
    assert await store.peek(key) == Claim(None, value("slow"))


async def test_an_older_version_does_not_overwrite_a_newer_one(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    old, new = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    first, second = version("first"), version("second")
    await old.announce(tenant, first, starting=True, alive_s=30)
    await new.announce(tenant, second, starting=True, alive_s=4)
    lease = await leased(new, key)
    written = value("new", made_with=second)
    assert await new.commit(lease, written, ttl_s=60, version=second) == "stored"
    lease = await leased(old, key)
    older = value("old", made_with=first)
    assert await old.commit(lease, older, ttl_s=60, version=first) == "outdated"
    assert await old.get(key) == written
    lease = await leased(old, key)
    await deployment.wait(4.1)
    # No process of the new version runs any more: it was only tried.
    await old.announce(tenant, first, starting=False, alive_s=30)
    assert await old.commit(lease, older, ttl_s=60, version=first) == "stored"


async def test_the_version_that_started_last_is_the_newest(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, _ = deployment.profiles
    first, second = version("first"), version("second")

    async def newest(made_with: ProfileVersion, *, starting: bool) -> str:
        order = await store.announce(tenant, made_with, starting=starting, alive_s=4)
        assert made_with.digest() in order
        top = max(order, key=lambda digest: order[digest])
        return next(one.base_model.name for one in (first, second) if one.digest() == top)

    assert await newest(first, starting=True) == "first"
    assert await newest(second, starting=True) == "second"
    # A process of the old version that crashed and came back, while others of it still run.
    assert await newest(first, starting=True) == "second"
    assert await newest(first, starting=False) == "second"
    await deployment.wait(4.1)
    # None of the old version was running any more: this is a way back.
    assert await newest(second, starting=False) == "second"
    assert await newest(first, starting=True) == "first", "though the other still runs"
    assert await newest(second, starting=False) == "first"
    assert await store.get_version(tenant, first.digest()) == first.to_json()


async def test_giving_up_lets_the_next_try_at_once(deploy: Deploy, tenant: str) -> None:
    store, other = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    await store.give_up(await leased(store, key))
    assert (await other.acquire(key)).lease is not None


async def test_a_failure_is_seen_by_those_who_wait_and_passes(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    old = await stored(store, key, "old")
    await store.give_up(await leased(store, key), "model-unavailable")
    assert await other.acquire(key) == Claim(None, old, "model-unavailable")

    async def passed() -> bool:
        return (await other.acquire(key)).lease is not None

    await until(deployment, passed)


async def test_a_value_does_not_outlive_its_time(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    brief, lasting = (ProfileKey(tenant, "user", name) for name in ("brief", "lasting"))
    kept = await stored(store, lasting, ttl_s=3600)
    await stored(store, brief, ttl_s=1)

    async def gone() -> bool:
        return await other.get(brief) is None

    await until(deployment, gone)
    assert await other.get_many([brief, lasting]) == [None, kept]
