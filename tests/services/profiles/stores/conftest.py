"""Every entry of the registry of stores, as two processes see it that share the deployment."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.settings import Settings
from services.profiles.stores.memory.stores import open_memory_stores
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.registry import STORES
from tests.support.redis_sets import ClusterSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from services.profiles.stores.base import (
        ActiveScorers,
        Catalogue,
        Interactions,
        ProfileStore,
        Refreshes,
        Stores,
    )
    from tests.support.servers import RedisServer


@dataclass
class Clock:
    """A clock that stands until it is set forward."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Deployment:
    """Two views of the same stores, and the clock of those that take one."""

    one: Stores
    other: Stores
    clock: Clock | None = field(default=None)

    @property
    def profiles(self) -> tuple[ProfileStore, ProfileStore]:
        return self.one.profiles, self.other.profiles

    @property
    def refreshes(self) -> Refreshes:
        return self.one.refreshes

    @property
    def scorers(self) -> tuple[ActiveScorers, ActiveScorers]:
        return self.one.scorers, self.other.scorers

    async def wait(self, seconds: float) -> None:
        """Lets time pass for the stores: a server's clock cannot be set."""
        if self.clock is None:
            await asyncio.sleep(seconds)
        else:
            self.clock.now += seconds
            await asyncio.sleep(0)


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return secrets.token_hex(6)


@pytest.fixture
async def redis_client(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    client = RedisClient(url=redis_server.url, timeout_s=5, connections=8)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def one_node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSet]:
    """A cluster of one node: it refuses what crosses slots, and serves any tenant."""
    with ClusterSet(tmp_path_factory.mktemp("cluster"), masters=1, replicas=0) as servers:
        yield servers


@pytest.fixture(params=[*STORES, "redis in a cluster"])
async def deploy(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Deployment]]:
    """Opens the stores of a registry entry with some settings, those in Redis also in a cluster."""
    async with contextlib.AsyncExitStack() as stack:

        def opened(**settings: Any) -> Deployment:
            if request.param == "memory":
                clock = Clock()
                stores = open_memory_stores(Settings(**settings), clock=clock)
                return Deployment(stores, stores, clock)
            entry, _, clustered = request.param.partition(" in a ")
            server = "one_node_cluster" if clustered else "redis_server"
            url = request.getfixturevalue(server).url
            made = Settings(redis_url=url, redis_timeout_s=5, redis_connections=8, **settings)
            one, other = (STORES[entry](made) for _ in range(2))
            for stores in (one, other):
                stack.push_async_callback(stores.aclose)
            return Deployment(one, other)

        yield opened


@pytest.fixture
def catalogue(deploy: Callable[..., Deployment]) -> Catalogue:
    return deploy().one.catalogue


@pytest.fixture
def few_changes(deploy: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Keeps the changes of five items."""
    catalogue = deploy().one.catalogue
    monkeypatch.setattr(catalogue, "_kept", 5)
    return catalogue


@pytest.fixture
def interactions(deploy: Callable[..., Deployment]) -> Interactions:
    """Keeps five events of a user."""
    return deploy(max_interactions=5).one.interactions
