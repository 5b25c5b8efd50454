"""What every store of profiles does, for each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Component, ProfileKey, ProfileVersion
from services.profiles.stores.base import Claim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.profiles.stores.base import Lease, ProfileStore
    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio

VERSION = ProfileVersion(
    Component("llama", "1"), None, Component("prompt", "2"), Component("encoder", "3")
)


async def leased(store: ProfileStore, key: ProfileKey) -> Lease:
    claim = await store.acquire(key)
    assert claim.lease is not None
    return claim.lease


async def stored(store: ProfileStore, key: ProfileKey, value: bytes, *, ttl_s: int = 60) -> None:
    lease = await leased(store, key)
    assert await store.commit(lease, value, ttl_s=ttl_s, version=VERSION)


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
    for number, key in enumerate(keys):
        await stored(store, key, b"\x00\xff%d" % number)
    missing = ProfileKey(tenant, "user", "missing")
    values: list[bytes | None] = [b"\x00\xff%d" % number for number in range(len(keys))]
    assert await other.get_many([*keys, missing]) == [*values, None]
    assert await asyncio.gather(*map(other.get, keys)) == values
    assert await other.get(ProfileKey(tenant + "x", "user", "a")) is None


async def test_one_of_many_gets_the_lease(deploy: Deploy, tenant: str) -> None:
    stores = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    claims = await asyncio.gather(*(stores[n % 2].acquire(key) for n in range(20)))
    assert sum(claim.lease is not None for claim in claims) == 1
    assert [claim for claim in claims if claim.lease is None] == [Claim(None, None)] * 19


async def test_a_commit_stores_and_ends_the_lease(deploy: Deploy, tenant: str) -> None:
    store, other = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    lease = await leased(store, key)
    assert await store.commit(lease, b"value", ttl_s=60, version=VERSION)
    assert await other.get(key) == b"value"
    assert await other.get_version(tenant, VERSION.digest()) == VERSION.to_json()
    assert await other.get_version(f"{tenant}-2", VERSION.digest()) is None
    assert not await store.commit(lease, b"late", ttl_s=60, version=VERSION)
    assert not await store.renew(lease)
    claim = await other.acquire(key)
    assert claim.lease is not None
    assert claim.value == b"value"
    assert await store.acquire(key) == Claim(None, b"value")


async def test_a_renewed_lease_outlives_its_time(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(lease_s=2.0)
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    lease = await leased(store, key)
    for _ in range(3):
        await deployment.wait(0.8)
        assert await store.renew(lease)
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
    assert not await store.renew(dead)
    assert not await store.commit(dead, b"late", ttl_s=60, version=VERSION)
    await store.give_up(dead, "model-unavailable")
    assert await store.get(key) is None
    assert await other.commit(successor[0], b"good", ttl_s=60, version=VERSION)
    assert await store.get(key) == b"good"


async def test_giving_up_lets_the_next_try_at_once(deploy: Deploy, tenant: str) -> None:
    store, other = deploy().profiles
    key = ProfileKey(tenant, "user", "u")
    await store.give_up(await leased(store, key))
    assert (await other.acquire(key)).lease is not None


async def test_a_failure_is_seen_by_those_who_wait_and_passes(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    key = ProfileKey(tenant, "user", "u")
    await stored(store, key, b"old")
    await store.give_up(await leased(store, key), "model-unavailable")
    assert await other.acquire(key) == Claim(None, b"old", "model-unavailable")

    async def passed() -> bool:
        return (await other.acquire(key)).lease is not None

    await until(deployment, passed)


async def test_a_value_does_not_outlive_its_time(deploy: Deploy, tenant: str) -> None:
    deployment = deploy()
    store, other = deployment.profiles
    brief, lasting = (ProfileKey(tenant, "user", name) for name in ("brief", "lasting"))
    await stored(store, lasting, b"value", ttl_s=3600)
    await stored(store, brief, b"value", ttl_s=1)

    async def gone() -> bool:
        return await other.get(brief) is None

    await until(deployment, gone)
    assert await other.get_many([brief, lasting]) == [None, b"value"]
