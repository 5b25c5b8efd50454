"""What only the real Redis shows: round trips, keys, times to live, and its absence."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Item, ProfileKey
from services.profiles.errors import StoreUnavailable
from services.profiles.settings import Settings
from services.profiles.stores.base import ActiveRefs, Event, Lease, Refresh, ScorerRef
from services.profiles.stores.redis import keys
from services.profiles.stores.redis.profiles import RedisProfiles
from services.profiles.stores.redis.stores import RedisStores, open_redis_stores
from tests.services.profiles.stores.values import VERSION, leased, stored, value
from tests.support.monitoring import commands_naming
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import redis

    from services.profiles.stores.redis.client import RedisClient
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


@pytest.fixture
async def stores(redis_server: RedisServer) -> AsyncIterator[RedisStores]:
    stores = open_redis_stores(Settings(redis_url=redis_server.url, redis_timeout_s=5))
    yield stores
    await stores.aclose()


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
    users = [ProfileKey(tenant, "user", f"u{number}") for number in range(50)]
    for key in users[:-1]:
        await stored(store, key, key.id)
    with commands_naming(server, tenant) as sent:
        values = await asyncio.gather(*(store.get(key) for key in [*users, *users]))
    assert sent == ["MGET"]
    assert values == [*(value(key.id) for key in users[:-1]), None] * 2


async def test_a_getter_that_goes_away_takes_no_other_down(
    store: RedisProfiles, tenant: str
) -> None:
    key, other = (ProfileKey(tenant, "user", name) for name in ("a", "b"))
    await stored(store, key, "a")
    await stored(store, other, "b")
    tasks = [asyncio.create_task(store.get(k)) for k in (key, key, other)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [value("a"), value("b")]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_a_cancellation_is_not_lost_at_any_turn_of_the_loop(
    redis_client: RedisClient, tenant: str
) -> None:
    name = f"c:{{{tenant}}}"
    script = "return redis.call('GET', KEYS[1])"
    calls = {
        "call": lambda: redis_client.call("GET", name),
        "run": lambda: redis_client.run(script, [name.encode()]),
        "transaction": lambda: redis_client.transaction(("GET", name)),
    }
    for what, call in calls.items():
        await call()
        for turns in range(30):
            task = asyncio.create_task(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.cancel():
                done, _ = await asyncio.wait({task}, timeout=20)
                assert done, what
                assert task.cancelled(), (what, turns)


async def test_a_profile_and_its_lease_are_all_there_is_and_both_have_a_time_to_live(
    store: RedisProfiles, server: redis.Redis, tenant: str
) -> None:
    key = ProfileKey(tenant, "user", secrets.token_hex(8))
    await stored(store, key, ttl_s=1000)
    await leased(store, key)
    names = holding(server, key.id)
    assert len(names) == 2
    ages = sorted(int(server.ttl(name)) for name in names)
    assert 0 < ages[0] <= 30
    assert 900 < ages[1] <= 1000


async def test_erasing_leaves_no_key_of_that_id(
    stores: RedisStores, server: redis.Redis, tenant: str
) -> None:
    id_ = secrets.token_hex(8)
    store, catalogue = stores.profiles, stores.catalogue
    await catalogue.put_items(tenant, [Item(id_, "Blue Velvet (1986)", "Drama")])
    for kind in ("user", "item"):
        key = ProfileKey(tenant, kind, id_)
        await stored(store, key, id_)
        await leased(store, key)
    assert len(holding(server, id_)) == 8  # profile and lease twice, and four of the catalogue
    for kind in ("user", "item"):
        await stores.erase(ProfileKey(tenant, kind, id_))
    await catalogue.delete_item(tenant, id_)
    tombstones = [keys.profile(ProfileKey(tenant, kind, id_)) for kind in ("user", "item")]
    # That the item is withdrawn has to be known for as long as a bundle may have it.
    known = [keys.erasures(tenant), keys.item_changes(tenant), keys.items_withdrawn(tenant)]
    assert sorted(holding(server, id_)) == sorted([*tombstones, *known])
    assert {len(value) for value in server.mget(tombstones)} == {9}, "an epoch, and nothing else"
    assert all(0 < server.ttl(name) <= stores.erasure_ttl_s for name in tombstones)


async def test_without_redis_every_call_says_so_and_no_more(tenant: str) -> None:
    stores = open_redis_stores(
        Settings(
            redis_url=f"redis://:hunter2@127.0.0.1:{free_port()}/0",
            redis_timeout_s=1,
            redis_connections=2,
        )
    )
    store, catalogue = stores.profiles, stores.catalogue
    interactions, refreshes, scorers = stores.interactions, stores.refreshes, stores.scorers
    refresh = Refresh(b"1-1", "u", 1)
    ref = ScorerRef("a", "1" * 32)
    key = ProfileKey(tenant, "user", "u")
    lease = Lease(key, b"token")
    calls = [
        store.get(key),
        store.get(key),
        store.get_many([key]),
        stores.erase(key),
        store.acquire(key),
        store.peek(key),
        store.renew([lease]),
        store.commit(lease, b"", ttl_s=1, version=VERSION),
        store.epochs([key]),
        store.announce(tenant, VERSION, starting=True, alive_s=1),
        stores.erasures.erased_at(tenant, ["u"]),
        stores.erasures.page(tenant, cursor=None, limit=1),
        store.give_up(lease),
        store.get_version(tenant, bytes(8)),
        store.ping(),
        catalogue.get_items(tenant, ["a"]),
        catalogue.put_items(tenant, [Item("a", "A")]),
        catalogue.delete_item(tenant, "a"),
        catalogue.list_items(tenant, query="", cursor=None, limit=1),
        catalogue.list_items(tenant, query="a", cursor=None, limit=1),
        interactions.append(tenant, [Event("u", "a", 1)]),
        interactions.history(tenant, "u", limit=1),
        interactions.events(tenant, "u", limit=1),
        refreshes.schedule(tenant, ["u"]),
        refreshes.take(tenant, "w", most=1, holding=()),
        refreshes.done(tenant, refresh),
        refreshes.later(tenant, refresh, pause_s=1, counts=True),
        refreshes.dead_letter(tenant, refresh, "because"),
        refreshes.dead_letters(tenant),
        refreshes.leave(tenant, "w"),
        scorers.refs(tenant),
        scorers.activate(tenant, ref),
        scorers.swap(tenant, ActiveRefs(ref, ref)),
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in found} == {StoreUnavailable}
    assert not any("hunter2" in str(one) or "127.0.0.1" in str(one) for one in found)
    await stores.aclose()
