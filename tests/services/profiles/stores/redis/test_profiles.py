"""What only the real Redis shows: round trips, keys, times to live, and its absence."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Item, ProfileKey
from services.profiles.errors import StoreUnavailable
from services.profiles.stores.redis.catalogue import RedisCatalogue
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.profiles import RedisProfiles
from tests.services.profiles.stores.test_profile_stores import VERSION, leased, stored
from tests.support.monitoring import commands_naming
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from services.profiles.stores.base import Lease
    from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Looks at the server past the store."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def store(redis_client: RedisClient) -> RedisProfiles:
    return RedisProfiles(redis_client, lease_s=30)


def holding(server: redis.Redis, id_: str) -> list[bytes]:
    """Returns every key that holds an id, in its name or in its content."""
    found = []
    for key in server.scan_iter("*", count=1000):
        match server.type(key):
            case b"hash":
                content = repr(server.hgetall(key))
            case b"zset":
                content = repr(server.zrange(key, 0, -1))
            case b"stream":
                content = repr(server.xrange(key))
            case _:
                content = repr(server.get(key))
        if id_ in repr(key) + content:
            found.append(key)
    return found


async def test_gets_that_arrive_together_are_one_round_trip(
    store: RedisProfiles, server: redis.Redis, tenant: str
) -> None:
    keys = [ProfileKey(tenant, "user", f"u{number}") for number in range(50)]
    for key in keys[:-1]:
        await stored(store, key, key.id.encode())
    with commands_naming(server, tenant) as sent:
        values = await asyncio.gather(*(store.get(key) for key in [*keys, *keys]))
    assert sent == ["MGET"]
    assert values == [*(key.id.encode() for key in keys[:-1]), None] * 2


async def test_a_getter_that_goes_away_takes_no_other_down(
    store: RedisProfiles, tenant: str
) -> None:
    key, other = (ProfileKey(tenant, "user", name) for name in ("a", "b"))
    await stored(store, key, b"a")
    await stored(store, other, b"b")
    tasks = [asyncio.create_task(store.get(k)) for k in (key, key, other)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [b"a", b"b"]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_a_profile_and_its_lease_are_all_there_is_and_both_have_a_time_to_live(
    store: RedisProfiles, server: redis.Redis, tenant: str
) -> None:
    key = ProfileKey(tenant, "user", secrets.token_hex(8))
    await stored(store, key, b"value", ttl_s=1000)
    await leased(store, key)
    names = holding(server, key.id)
    assert len(names) == 2
    ages = sorted(int(server.ttl(name)) for name in names)
    assert 0 < ages[0] <= 30
    assert 900 < ages[1] <= 1000


async def test_erasing_leaves_no_key_of_that_id(
    store: RedisProfiles, redis_client: RedisClient, server: redis.Redis, tenant: str
) -> None:
    id_ = secrets.token_hex(8)
    catalogue = RedisCatalogue(redis_client)
    await catalogue.put_items(tenant, [Item(id_, "Blue Velvet (1986)", "Drama")])
    for kind in ("user", "item"):
        key = ProfileKey(tenant, kind, id_)
        await stored(store, key, id_.encode())
        await leased(store, key)
    assert len(holding(server, id_)) == 7  # profile and lease twice, and three of the catalogue
    for kind in ("user", "item"):
        await store.delete(ProfileKey(tenant, kind, id_))
    await catalogue.delete_item(tenant, id_)
    assert holding(server, id_) == []


async def test_without_redis_every_call_says_so_and_no_more(tenant: str) -> None:
    client = RedisClient(
        url=f"redis://:hunter2@127.0.0.1:{free_port()}/0", timeout_s=1, connections=2
    )
    store, catalogue = RedisProfiles(client, lease_s=1), RedisCatalogue(client)
    key = ProfileKey(tenant, "user", "u")
    lease = _lease(key)
    calls = [
        store.get(key),
        store.get(key),
        store.get_many([key]),
        store.delete(key),
        store.acquire(key),
        store.renew(lease),
        store.commit(lease, b"", ttl_s=1, version=VERSION),
        store.give_up(lease),
        store.get_version(bytes(8)),
        store.ping(),
        catalogue.get_items(tenant, ["a"]),
        catalogue.put_items(tenant, [Item("a", "A")]),
        catalogue.delete_item(tenant, "a"),
        catalogue.list_items(tenant, query="", cursor=None, limit=1),
        catalogue.list_items(tenant, query="a", cursor=None, limit=1),
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in found} == {StoreUnavailable}
    assert not any("hunter2" in str(one) or "127.0.0.1" in str(one) for one in found)
    await client.aclose()


def _lease(key: ProfileKey) -> Lease:
    from services.profiles.stores.base import Lease

    return Lease(key, b"token")
