"""Connections to the one server that takes this deployment's writes, wherever it is at the moment.

Sentinels know it by a name. In a cluster it is the node with the slot of the tenant's keys, all of
which are in one slot. Either is asked before each connection, so that a pool that has been emptied
after a failover connects to the server that took over. Why not the cluster client of redis-py:
docs/decisions/0020-redis.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from redis.asyncio import BlockingConnectionPool, Redis, Sentinel
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.profiles.stores.redis.address import Address, Node


_ALL_S = 0.2
"""How long all Sentinels are waited for; after that, one answer is enough."""


class Directory(Protocol):
    """Knows which server takes writes now."""

    async def find(self) -> Node:
        """Returns the server's address; raises errors of redis-py."""
        ...

    async def aclose(self) -> None:
        """Closes the connections to whoever is asked."""
        ...


class Sentinels:
    """The server that Sentinels know by a name.

    Args:
        nodes: The Sentinels.
        service: The name.
        options: Of connections to the Sentinels.
    """

    def __init__(self, nodes: Sequence[Node], *, service: str, options: Mapping[str, Any]) -> None:
        self.service = service
        self.client = Sentinel(nodes, sentinel_kwargs=dict(options))  # type: ignore[no-untyped-call]

    async def find(self) -> Node:
        """Asks all Sentinels, and believes the one that knows the latest failover.

        After a failover the others learn of it within seconds. Until then they name the old master,
        which may have been started again by then, with no data.

        Raises:
            MasterNotFoundError: None of those who answer knows a server that is up.
        """
        asked = [asyncio.create_task(self._ask(one)) for one in self.client.sentinels]
        try:
            done, waiting = await asyncio.wait(asked, timeout=_ALL_S)
            while waiting and not any(task.result() for task in done):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in asked:
                task.cancel()
        answers = [answer for task in done if (answer := task.result()) is not None]
        if not answers:
            raise MasterNotFoundError(f"the Sentinels know no server for {self.service!r}")
        return max(answers)[1]

    async def _ask(self, sentinel: Redis) -> tuple[int, Node] | None:
        """Returns the number of the last failover and the server, as one Sentinel knows them."""
        try:
            masters: Any = await sentinel.sentinel_masters()
        except (RedisError, OSError):
            return None
        state = masters.get(self.service)
        if state is None or not self.client.check_master_state(state, self.service):
            return None
        return int(state["config-epoch"]), (state["ip"], int(state["port"]))

    async def aclose(self) -> None:
        """Closes the connections to the Sentinels."""
        await self.client.aclose()


class ClusterMap:
    """The node of a Redis Cluster that has one slot.

    Args:
        nodes: Some nodes; the others are learned from them.
        slot: The slot.
        options: Of connections to the nodes.
    """

    def __init__(self, nodes: Sequence[Node], *, slot: int, options: Mapping[str, Any]) -> None:
        self._given = tuple(nodes)
        self._nodes = list(nodes)
        self._slot = slot
        self._options = options

    def hint(self, node: Node) -> None:
        """Asks a node first from now on: another one says that it has the slot."""
        self._nodes = list(dict.fromkeys((node, *self._nodes)))

    async def find(self) -> Node:
        """Asks one node after another where the slot is.

        Raises:
            ClusterDownError: No node that answers knows one with the slot.
            AuthenticationError: The cluster refuses the credentials.
            ConnectionError: No node answers.
        """
        problem: RedisError = RedisConnectionError("no node of the cluster answers")
        for node in tuple(self._nodes):
            try:
                found = await self._ask(node)
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError, OSError):
                continue
            if found is not None:
                return found
            problem = ClusterDownError("the slot is not served")
        raise problem

    async def _ask(self, node: Node) -> Node | None:
        """Returns the address of the slot's master as a node knows it, and remembers all nodes."""
        host, port = node
        async with Redis(host=host, port=port, **self._options) as redis:
            ranges = await redis.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        master = None
        known = [node]
        for first, last, *servers in ranges:
            # A node that does not know its own address leaves the host empty.
            found = [((name or b"").decode() or host, int(at)) for name, at, *_ in servers]
            known += found
            if first <= self._slot <= last:
                master = found[0]
        self._nodes = list(dict.fromkeys((*known, *self._given)))
        return master

    async def aclose(self) -> None:
        """Holds nothing to close."""


class FollowingConnection(Connection):
    """Connects to the server that a directory names at that time."""

    def __init__(self, *, directory: Directory, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._directory = directory

    async def _connect(self) -> None:
        self.host, self.port = await self._directory.find()
        await super()._connect()  # type: ignore[no-untyped-call]


class FollowingSSLConnection(FollowingConnection, SSLConnection):
    """The same over TLS."""


def open_pool(
    address: Address,
    *,
    slot: int,
    timeout_s: float,
    connections: int,
    sentinel_password: str | None = None,
) -> tuple[BlockingConnectionPool, Directory | None]:
    """Returns a pool that has not connected yet, and what names its server; None for one server.

    Args:
        address: Where Redis is.
        slot: The slot of the keys, for a cluster.
        timeout_s: Limit for connecting, and for each reply.
        connections: Most connections.
        sentinel_password: Of the Sentinels.

    Raises:
        ValueError: The address has an option that redis-py does not know.
    """
    limits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    options: dict[str, Any] = {**limits, **address.options}
    pooled: dict[str, Any] = {
        **options,
        "max_connections": connections,
        "timeout": timeout_s,
        # A pooled connection may be closed since the server restarted: try once more.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    directory: Directory | None = None
    try:
        if address.kind != "server":
            directory = _directory(address, options, slot, sentinel_password)
            tls = pooled.pop("ssl", False)
            pooled["connection_class"] = FollowingSSLConnection if tls else FollowingConnection
            pooled["directory"] = directory
        pool = BlockingConnectionPool(**pooled)
        pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError as error:
        raise ValueError(f"RECLM_REDIS_URL has an option that redis-py lacks: {error}") from error
    return pool, directory


def _directory(
    address: Address, options: Mapping[str, Any], slot: int, sentinel_password: str | None
) -> Directory:
    asking: dict[str, Any] = {**options, "retry": Retry(NoBackoff(), 0)}
    if address.kind == "cluster":
        return ClusterMap(address.nodes, slot=slot, options=asking)
    asking |= {"username": address.sentinel_user, "password": sentinel_password, "db": 0}
    return Sentinels(address.nodes, service=address.service, options=asking)
