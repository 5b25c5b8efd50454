"""The queue of refreshes and interactions: keys, packing and workers in the real Redis."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import ProfileKey
from services.profiles.settings import Settings
from services.profiles.stores.base import Event
from services.profiles.stores.redis import keys
from services.profiles.stores.redis.interactions import RedisInteractions
from services.profiles.stores.redis.refreshes import RedisRefreshes
from services.profiles.stores.redis.stores import RedisStores, open_redis_stores
from tests.services.profiles.stores.redis.test_profiles import holding
from tests.support.monitoring import commands_naming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import redis

    from services.profiles.stores.base import Refresh
    from services.profiles.stores.redis.client import RedisClient
    from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Looks at the server past the store."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def queue(redis_client: RedisClient) -> RedisRefreshes:
    return RedisRefreshes(redis_client, quiet_s=0.15, max_wait_s=0.4, lease_s=0.6)


@pytest.fixture
async def stores(redis_server: RedisServer) -> AsyncIterator[RedisStores]:
    stores = open_redis_stores(Settings(redis_url=redis_server.url, redis_timeout_s=5))
    await stores.erase(ProfileKey("warm", "user", "up"))  # its script is known from here on
    yield stores
    await stores.aclose()


async def taken(
    queue: RedisRefreshes, tenant: str, worker: str = "w", most: int = 9
) -> list[Refresh]:
    return list((await queue.take(tenant, worker, most=most, holding=())).refreshes)


async def test_a_refresh_that_is_done_leaves_no_key(
    queue: RedisRefreshes, server: redis.Redis, tenant: str
) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    (refresh,) = await taken(queue, tenant)
    assert server.exists(keys.refresh_under_way(tenant), keys.refresh_tries(tenant)) == 2
    await queue.done(tenant, refresh)
    assert not server.exists(keys.refresh_under_way(tenant), keys.refresh_tries(tenant))


async def test_nobody_is_put_off_for_ever(
    queue: RedisRefreshes, server: redis.Redis, tenant: str
) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    await taken(queue, tenant)
    server.delete(keys.refresh_stream(tenant))
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    assert [refresh.user_id for refresh in await taken(queue, tenant)] == ["u"]


async def test_a_worker_that_leaves_is_forgotten_unless_something_is_left_to_claim(
    queue: RedisRefreshes, server: redis.Redis, tenant: str
) -> None:
    await queue.leave(tenant, "nowhere")
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    (refresh,) = await taken(queue, tenant, "w")
    await taken(queue, tenant, "idle")

    def workers() -> set[bytes]:
        rows = server.xinfo_consumers(keys.refresh_stream(tenant), "refreshers")
        return {row["name"] for row in rows}

    for worker in ("w", "idle"):
        await queue.leave(tenant, worker)
    assert workers() == {b"w"}
    await queue.done(tenant, refresh)
    await queue.leave(tenant, "w")
    assert workers() == set()


async def test_erasing_leaves_a_user_nowhere(
    queue: RedisRefreshes, stores: RedisStores, server: redis.Redis, tenant: str
) -> None:
    user = secrets.token_hex(8)
    await stores.interactions.append(tenant, [Event(id_, "i", 1) for id_ in (user, "other")])
    await queue.schedule(tenant, [user, "other"])
    await asyncio.sleep(0.2)
    for refresh in await taken(queue, tenant):
        await queue.dead_letter(tenant, refresh, "because")
    await queue.schedule(tenant, [user])
    assert len(server.xrange(keys.refresh_dead(tenant))) == 2
    assert len(holding(server, user)) == 4  # history, due, first and a dead letter

    await asyncio.sleep(0.2)
    await taken(queue, tenant)
    await queue.schedule(tenant, [user])
    assert len(holding(server, user)) == 7  # the stream, tries and under way as well

    with commands_naming(server, tenant) as sent:
        await stores.erase(ProfileKey(tenant, "user", user))
    assert sent == ["EVALSHA"]
    tombstones = keys.profile(ProfileKey(tenant, "user", user))
    assert sorted(holding(server, user)) == sorted([tombstones, keys.erasures(tenant)])
    ((_, letter),) = server.xrange(keys.refresh_dead(tenant))
    assert letter == {b"user": b"other", b"reason": b"because", b"tries": b"1"}


async def test_giving_up_on_who_was_erased_writes_nothing_down(
    queue: RedisRefreshes, stores: RedisStores, server: redis.Redis, tenant: str
) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    (refresh,) = await taken(queue, tenant)
    await stores.erase(ProfileKey(tenant, "user", "u"))
    await queue.dead_letter(tenant, refresh, "because")
    assert not server.exists(keys.refresh_dead(tenant))
    assert not server.exists(keys.refresh_tries(tenant))


async def test_a_full_history_is_packed_and_has_a_time_to_live(
    redis_client: RedisClient, server: redis.Redis, tenant: str
) -> None:
    interactions = RedisInteractions(redis_client, cap=100, ttl_s=1000)
    at = 1_750_000_000_000
    await interactions.append(tenant, [Event("u", f"item-{n}", at + n) for n in range(1000)])
    key = keys.interactions(tenant, "u")
    assert server.zcard(key) == 100
    assert server.object("encoding", key) in {b"listpack", b"ziplist"}
    assert server.memory_usage(key) < 3_000
    assert 900 < server.ttl(key) <= 1000


async def test_a_batch_is_one_round_trip(
    redis_client: RedisClient, server: redis.Redis, tenant: str
) -> None:
    interactions = RedisInteractions(redis_client, cap=5, ttl_s=1000)
    await interactions.append(tenant, [Event("warm", "up", 1)])
    with commands_naming(server, tenant) as sent:
        await interactions.append(tenant, [Event(f"u{n % 50}", f"i{n}", n) for n in range(500)])
    assert sent == ["EVALSHA"]
