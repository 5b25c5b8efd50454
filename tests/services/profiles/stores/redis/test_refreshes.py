"""The queue of refreshes, and interactions as only the real Redis shows them."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from services.profiles.stores.base import Event, Refresh
from services.profiles.stores.redis import keys
from services.profiles.stores.redis.interactions import RedisInteractions
from services.profiles.stores.redis.refreshes import RedisRefreshes
from tests.services.profiles.stores.redis.test_profiles import holding
from tests.support.monitoring import commands_naming

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def queue(redis_client: RedisClient) -> RedisRefreshes:
    return RedisRefreshes(redis_client, quiet_s=0.15, max_wait_s=0.4, lease_s=0.6)


async def taken(
    queue: RedisRefreshes, tenant: str, worker: str = "w", most: int = 9
) -> list[Refresh]:
    return list((await queue.take(tenant, worker, most=most, holding=())).refreshes)


async def test_a_burst_is_one_refresh_when_it_is_over(
    redis_client: RedisClient, tenant: str
) -> None:
    queue = RedisRefreshes(redis_client, quiet_s=0.6, max_wait_s=60, lease_s=60)
    for _ in range(5):
        await queue.schedule(tenant, ["u", "u"])
        assert await taken(queue, tenant) == []
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.65)
    (refresh,) = await taken(queue, tenant)
    assert (refresh.user_id, refresh.tries) == ("u", 1)
    await queue.done(tenant, refresh)
    assert (await queue.take(tenant, "w", most=9, holding=())).waiting == 0


async def test_a_burst_without_end_is_refreshed_all_the_same(
    redis_client: RedisClient, tenant: str
) -> None:
    queue = RedisRefreshes(redis_client, quiet_s=60, max_wait_s=0.2, lease_s=60)
    found: list[Refresh] = []
    for _ in range(20):
        await queue.schedule(tenant, ["u"])
        found += await taken(queue, tenant)
        await asyncio.sleep(0.02)
    assert 1 <= len(found) < 20


async def test_who_is_under_way_is_not_taken_again_before_the_end_of_that(
    queue: RedisRefreshes, server: redis.Redis, tenant: str
) -> None:
    await queue.schedule(tenant, ["u", "v"])
    await asyncio.sleep(0.2)
    refreshes = await taken(queue, tenant)
    for _ in range(4):
        await queue.schedule(tenant, ["u"])
        await asyncio.sleep(0.2)
        assert (await queue.take(tenant, "w", most=9, holding=refreshes)).refreshes == ()
        assert await taken(queue, tenant, "other") == []
    for refresh in refreshes:
        await queue.done(tenant, refresh)
    await asyncio.sleep(0.2)
    (again,) = await taken(queue, tenant)
    assert (again.user_id, again.tries) == ("u", 1)
    await queue.done(tenant, again)
    assert not server.exists(keys.refresh_under_way(tenant), keys.refresh_tries(tenant))


async def test_an_end_that_comes_late_ends_no_other_refresh(
    queue: RedisRefreshes, tenant: str
) -> None:
    for worker in ("first", "second"):
        await queue.schedule(tenant, ["u"])
        await asyncio.sleep(0.2)
        (refresh,) = await taken(queue, tenant, worker)
        if worker == "first":
            late = refresh
            await queue.done(tenant, refresh)
    await queue.done(tenant, late)
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    assert await taken(queue, tenant, "third") == []


@pytest.mark.parametrize("how", ["lost", "erased"])
async def test_nobody_is_put_off_for_ever(
    how: str, queue: RedisRefreshes, redis_client: RedisClient, server: redis.Redis, tenant: str
) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    await taken(queue, tenant)
    if how == "lost":
        server.delete(keys.refresh_stream(tenant))
    else:
        await RedisInteractions(redis_client, cap=5, ttl_s=1000).erase(tenant, "u")
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    assert [refresh.user_id for refresh in await taken(queue, tenant)] == ["u"]


async def test_no_more_is_taken_than_asked_for_and_the_longest_due_first(
    queue: RedisRefreshes, tenant: str
) -> None:
    for user in ("a", "b", "c"):
        await queue.schedule(tenant, [user])
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    none = await queue.take(tenant, "w", most=0, holding=())
    assert (none.refreshes, none.waiting) == ((), 3)
    assert 0.03 < none.lag_s < 3
    assert [refresh.user_id for refresh in await taken(queue, tenant, most=2)] == ["a", "b"]
    assert [refresh.user_id for refresh in await taken(queue, tenant, "x", most=2)] == ["c"]


async def test_who_dies_between_taking_and_ending_loses_nothing(
    queue: RedisRefreshes, tenant: str
) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    (lost,) = await taken(queue, tenant, "dies")
    assert await taken(queue, tenant, "lives") == []
    await asyncio.sleep(0.65)
    (found,) = await taken(queue, tenant, "lives")
    assert found == Refresh(lost.entry, "u", 2)


async def test_who_renews_keeps_what_it_has(queue: RedisRefreshes, tenant: str) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    held = await taken(queue, tenant, "slow")
    for _ in range(8):
        await asyncio.sleep(0.1)
        await queue.take(tenant, "slow", most=0, holding=held)
        assert await taken(queue, tenant, "other") == []


async def test_a_failure_waits_and_events_do_not_shorten_that(
    queue: RedisRefreshes, tenant: str
) -> None:
    await queue.schedule(tenant, ["u", "v"])
    await asyncio.sleep(0.2)
    by_user = {refresh.user_id: refresh for refresh in await taken(queue, tenant)}
    await queue.later(tenant, by_user["u"], pause_s=0.6, counts=True)
    await queue.later(tenant, by_user["v"], pause_s=0.6, counts=False)
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.3)
    assert await taken(queue, tenant) == []
    await asyncio.sleep(0.4)
    found = {refresh.user_id: refresh.tries for refresh in await taken(queue, tenant)}
    assert found == {"u": 2, "v": 1}


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
    queue: RedisRefreshes, redis_client: RedisClient, server: redis.Redis, tenant: str
) -> None:
    user = secrets.token_hex(8)
    interactions = RedisInteractions(redis_client, cap=5, ttl_s=1000)
    await interactions.append(tenant, [Event(id_, "i", 1) for id_ in (user, "other")])
    await queue.schedule(tenant, [user, "other"])
    await asyncio.sleep(0.2)
    for refresh in await taken(queue, tenant):
        await queue.dead_letter(tenant, refresh, "because")
    await queue.schedule(tenant, [user])
    assert len(server.xrange(keys.refresh_dead(tenant))) == 2
    assert len(holding(server, user)) == 4  # history, due, first and a dead letter

    await interactions.erase(tenant, user)
    assert holding(server, user) == []
    ((_, letter),) = server.xrange(keys.refresh_dead(tenant))
    assert letter == {b"user": b"other", b"reason": b"because", b"tries": b"1"}


async def test_giving_up_on_who_was_erased_writes_nothing_down(
    queue: RedisRefreshes, redis_client: RedisClient, server: redis.Redis, tenant: str
) -> None:
    await queue.schedule(tenant, ["u"])
    await asyncio.sleep(0.2)
    (refresh,) = await taken(queue, tenant)
    await RedisInteractions(redis_client, cap=5, ttl_s=1000).erase(tenant, "u")
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
