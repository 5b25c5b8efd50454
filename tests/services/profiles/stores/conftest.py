"""Every store, twice: as two processes that share one Redis see it, or as two views of one."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest

from services.profiles.stores.memory import MemoryCatalogue, MemoryInteractions, MemoryProfiles
from services.profiles.stores.redis.catalogue import RedisCatalogue
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.interactions import RedisInteractions
from services.profiles.stores.redis.profiles import RedisProfiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from services.profiles.stores.base import Catalogue, Interactions, ProfileStore
    from tests.support.servers import RedisServer

    Pair = tuple[ProfileStore, ProfileStore]


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return secrets.token_hex(6)


@pytest.fixture
async def redis_client(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    client = RedisClient(url=redis_server.url, timeout_s=5, connections=8)
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[float], Pair]]:
    """Makes two stores over the same profiles, with leases of so many seconds."""
    async with contextlib.AsyncExitStack() as stack:

        def make(lease_s: float = 30.0) -> Pair:
            if request.param == "memory":
                store = MemoryProfiles(lease_s=lease_s)
                return store, store
            url = request.getfixturevalue("redis_server").url
            clients = [RedisClient(url=url, timeout_s=5, connections=8) for _ in range(2)]
            for client in clients:
                stack.push_async_callback(client.aclose)
            one, other = (RedisProfiles(client, lease_s=lease_s) for client in clients)
            return one, other

        yield make


@pytest.fixture(params=["memory", "redis"])
async def catalogue(request: pytest.FixtureRequest) -> AsyncIterator[Catalogue]:
    if request.param == "memory":
        yield MemoryCatalogue()
        return
    client = RedisClient(
        url=request.getfixturevalue("redis_server").url, timeout_s=5, connections=8
    )
    yield RedisCatalogue(client)
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
async def interactions(request: pytest.FixtureRequest) -> AsyncIterator[Interactions]:
    """Keeps five events of a user."""
    if request.param == "memory":
        yield MemoryInteractions(cap=5)
        return
    client = RedisClient(
        url=request.getfixturevalue("redis_server").url, timeout_s=5, connections=8
    )
    yield RedisInteractions(client, cap=5, ttl_s=1000)
    await client.aclose()
