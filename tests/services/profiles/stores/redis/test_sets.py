"""The client behind Sentinels and in a cluster, while servers die and are demoted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from redis.asyncio.sentinel import MasterNotFoundError

from services.profiles.errors import NotReplicated, StoreUnavailable
from services.profiles.stores.redis import requirements
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.pool import Sentinels
from tests.support.redis_sets import ClusterSet, SentinelSet
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.stack]

ADD = "return redis.call('SADD', KEYS[1], ARGV[1])"
NUMBERS = b"n:{default}"


@contextlib.asynccontextmanager
async def client(url: str, *, replicas: int = 0) -> AsyncIterator[RedisClient]:
    made = RedisClient(url=url, timeout_s=1, connections=4, replicas=replicas)
    yield made
    await made.aclose()


class Writer:
    """Writes one number after another, and remembers which were acknowledged."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self.acknowledged: set[bytes] = set()
        self.failed = 0

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._write())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def goes_on(self) -> None:
        """Waits until more has been acknowledged."""
        before = len(self.acknowledged)

        async def more() -> bool:
            return len(self.acknowledged) > before + 20

        await eventually_async(more, timeout_s=240)

    async def lost(self) -> set[bytes]:
        return self.acknowledged - set(await self._redis.call("SMEMBERS", NUMBERS))

    async def _write(self) -> None:
        number = 0
        while True:
            number += 1
            with contextlib.suppress(StoreUnavailable):
                await self._redis.write(ADD, [NUMBERS], str(number).encode())
                self.acknowledged.add(str(number).encode())
            await asyncio.sleep(0.002)


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path_factory.mktemp("sentinels")) as servers:
        yield servers


@pytest.mark.parametrize("kill", [False, True], ids=["demoted", "killed"])
async def test_no_write_that_a_replica_acknowledged_is_lost_when_the_master_is_replaced(
    sentinels: SentinelSet, kill: bool
) -> None:
    async with client(sentinels.url, replicas=1) as redis:
        writer = Writer(redis)
        async with writer.writing():
            await writer.goes_on()
            old, _ = await asyncio.to_thread(sentinels.fail_over, kill=kill)
            if kill:
                # Nothing is acknowledged until the new master has a replica, which this becomes.
                await asyncio.to_thread(old.start)
            await writer.goes_on()
        assert await writer.lost() == set()
        await redis.prove()


async def test_what_stands_after_the_sentinels_must_be_known_to_them(
    sentinels: SentinelSet,
) -> None:
    async with client(sentinels.url.replace("/profiles", "/films")) as redis:
        found = str(await requirements.fault(redis))
        assert "know no service 'films', only: profiles" in found
    async with client(f"redis://127.0.0.1:{sentinels.ports[0]}") as redis:
        assert "names a Sentinel as if it were the server" in str(await requirements.fault(redis))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSet]:
    with ClusterSet(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


async def test_a_node_must_not_be_taken_for_a_server(cluster: ClusterSet) -> None:
    async with client(cluster.servers[0].url) as redis:
        assert "write redis+cluster://" in str(await requirements.fault(redis))
    async with client(cluster.url) as redis:
        assert await requirements.fault(redis) is None


async def test_a_client_that_knows_one_node_finds_the_others(cluster: ClusterSet) -> None:
    owner = cluster.owner(NUMBERS)
    elsewhere = next(server for server in cluster.servers[:3] if server is not owner)
    async with client(f"redis+cluster://127.0.0.1:{elsewhere.port}") as redis:
        await redis.call("SET", "found:{default}", "1", "EX", 60)
        assert owner.client().exists("found:{default}")


async def test_a_moved_slot_is_followed_over_the_connections_that_are_open(
    cluster: ClusterSet,
) -> None:
    owner = cluster.owner(NUMBERS)
    replica = next(
        server
        for server in cluster.servers
        if server.client().role()[0] == b"slave" and server.client().role()[2] == owner.port
    )
    async with client(cluster.url) as redis:
        await redis.call("SET", "moved:{default}", "1", "EX", 60)
        # A failover that the replica is told to make: the old master is demoted and lives on.
        replica.client().cluster("FAILOVER")

        async def moved() -> bool:
            return await asyncio.to_thread(cluster.owner, NUMBERS) is replica

        await eventually_async(moved)
        assert await redis.call("GET", "moved:{default}") == b"1"
        await redis.call("SET", "moved:{default}", "2", "EX", 60)
        assert await redis.transaction(("GET", "moved:{default}")) == [b"2"]


async def test_no_write_is_lost_when_a_master_of_the_cluster_dies(cluster: ClusterSet) -> None:
    async with client(cluster.url, replicas=1) as redis:
        writer = Writer(redis)
        async with writer.writing():
            await writer.goes_on()
            before = set(writer.acknowledged)
            await asyncio.to_thread(cluster.fail_over, NUMBERS)

            # The new master has no replica of its own, so nothing more is acknowledged; it is
            # written all the same.
            async def refused() -> bool:
                try:
                    await redis.prove()
                except NotReplicated:
                    return True
                except StoreUnavailable:
                    return False
                return False

            await eventually_async(refused, timeout_s=240)
        assert before <= writer.acknowledged
        assert await writer.lost() == set()


class _Sentinel:
    """Answers as a Sentinel that knows one failover, when it is told to."""

    def __init__(self, epoch: int, port: int, *, answers: bool = True, down: bool = False) -> None:
        self.state = {
            "ip": "10.0.0.1",
            "port": port,
            "config-epoch": epoch,
            "is_master": True,
            "is_sdown": down,
            "is_odown": down,
            "num-other-sentinels": 2,
        }
        self._answers = answers

    async def sentinel_masters(self) -> dict[str, dict[str, object]]:
        if not self._answers:
            await asyncio.Event().wait()
        return {"films": self.state}


@pytest.mark.parametrize(
    ("sentinels", "port"),
    [
        ([_Sentinel(1, 1), _Sentinel(2, 2), _Sentinel(1, 1)], 2),
        ([_Sentinel(1, 1), _Sentinel(2, 2, answers=False)], 1),
        ([_Sentinel(1, 1, answers=False), _Sentinel(2, 2)], 2),
        ([_Sentinel(2, 2, down=True), _Sentinel(1, 1)], 1),
    ],
)
async def test_the_sentinel_that_knows_the_latest_failover_is_believed(
    sentinels: list[_Sentinel], port: int
) -> None:
    directory = Sentinels([("127.0.0.1", 1)], service="films", options={})
    directory.client.sentinels = sentinels
    async with asyncio.timeout(20):
        assert await directory.find() == ("10.0.0.1", port)


async def test_sentinels_that_know_no_server_are_told() -> None:
    directory = Sentinels([("127.0.0.1", 1)], service="films", options={})
    directory.client.sentinels = [_Sentinel(1, 1, down=True)]
    with pytest.raises(MasterNotFoundError, match="films"):
        await directory.find()
