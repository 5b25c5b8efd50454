"""Several real redis-servers that work together on loopback: with Sentinels, or as a cluster."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.crc import key_slot

from tests.support.processes import ServerProcess, free_port
from tests.support.servers import RedisServer, redis_binary
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

SERVICE = "profiles"
_SLOTS = 16384


class _Servers:
    """Servers that are started and stopped together."""

    servers: list[RedisServer]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        for server in self.servers:
            server.process.kill()


class SentinelSet(_Servers):
    """A master, replicas, and three Sentinels that agree by two.

    Args:
        folder: For logs and configurations.
        replicas: How many replicas the master has.
        down_ms: How long a master must be silent before the Sentinels replace it.
    """

    def __init__(self, folder: Path, *, replicas: int = 1, down_ms: int = 500) -> None:
        self._folder = folder
        self._down_ms = down_ms
        self.servers = [RedisServer(folder) for _ in range(1 + replicas)]
        self.ports = [free_port() for _ in range(3)]
        self.sentinels: list[ServerProcess] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def __enter__(self) -> Self:
        master, *replicas = self.servers
        master.start()
        for replica in replicas:
            replica.start()
            replica.client().replicaof("127.0.0.1", master.port)
        eventually(lambda: self.connected(master) == len(replicas))
        for port in self.ports:
            self.sentinels.append(self._sentinel(port, master.port))
        # Each must know the replicas and the others before it can fail over.
        eventually(lambda: all(self._complete(port) for port in self.ports))
        return self

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.kill()
        super().stop()

    def connected(self, master: RedisServer) -> int:
        """Returns how many replicas follow a master."""
        roles: Any = master.client().role()
        return len(roles[2]) if roles[0] == b"master" else 0

    def master(self) -> RedisServer:
        """Returns the server that the Sentinels name."""
        port = int(self._asked(self.ports[0])["port"])
        return next(server for server in self.servers if server.port == port)

    def fail_over(self, *, kill: bool) -> tuple[RedisServer, RedisServer]:
        """Kills the master or tells the Sentinels to demote it; returns the old and the new one.

        Returns when all Sentinels name the new one.
        """
        old = self.master()
        if kill:
            old.process.kill()
        else:
            redis.Redis(port=self.ports[0]).sentinel_failover(SERVICE)
        eventually(lambda: self.master() is not old, timeout_s=240)
        port = self.master().port
        eventually(lambda: all(int(self._asked(one)["port"]) == port for one in self.ports))
        new = self.master()
        eventually(lambda: new.client().role()[0] == b"master")
        return old, new

    def _sentinel(self, port: int, master: int) -> ServerProcess:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        file = folder / "sentinel.conf"
        lines = (
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {master} 2",
            f"sentinel down-after-milliseconds {SERVICE} {self._down_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        file.write_text("\n".join(lines) + "\n")
        command = [redis_binary(), str(file), "--sentinel"]
        process = ServerProcess(command, log=folder / "sentinel.log", env={})
        process.start(lambda: _answers(port), timeout_s=20)
        return process

    def _asked(self, port: int) -> dict[str, Any]:
        with redis.Redis(port=port) as client:
            state: dict[str, Any] = client.sentinel_masters()[SERVICE]
        return state

    def _complete(self, port: int) -> bool:
        state = self._asked(port)
        found = int(state["num-slaves"]), int(state["num-other-sentinels"])
        return found == (len(self.servers) - 1, len(self.ports) - 1)


class ClusterSet(_Servers):
    """A Redis Cluster: masters that share the slots, and replicas of each.

    Args:
        folder: For logs and configurations.
        masters: How many masters.
        replicas: How many replicas each of them has.
    """

    def __init__(self, folder: Path, *, masters: int = 3, replicas: int = 1) -> None:
        self._masters = masters
        self.servers = []
        for number in range(masters * (1 + replicas)):
            path = folder / f"node-{number}"
            path.mkdir()
            options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
            options += ["--cluster-config-file", "nodes.conf"]
            self.servers.append(RedisServer(path, port=_port_with_bus(), options=options))

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        masters, replicas = self.servers[: self._masters], self.servers[self._masters :]
        share = -(-_SLOTS // len(masters))
        for number, server in enumerate(masters):
            slots = range(number * share, min((number + 1) * share, _SLOTS))
            server.client().cluster("ADDSLOTS", *slots)
        for server in self.servers[1:]:
            server.client().cluster("MEET", "127.0.0.1", self.servers[0].port)
        eventually(lambda: all(self._knows(server) == len(self.servers) for server in self.servers))
        for number, server in enumerate(replicas):
            master = masters[number % len(masters)].client().cluster("MYID")
            server.client().cluster("REPLICATE", master)
        eventually(lambda: all(self._complete(server) for server in self.servers))
        return self

    def owner(self, key: bytes) -> RedisServer:
        """Returns the master of a key, as the majority of the nodes that run know it."""
        slot = key_slot(key)
        for server in self.servers:
            if server.process.ended():
                continue
            ranges: Any = server.client().cluster("SLOTS")
            for first, last, master, *_ in ranges:
                if first <= slot <= last:
                    return next(one for one in self.servers if one.port == master[1])
        raise AssertionError(f"no node knows slot {slot}")

    def fail_over(self, key: bytes) -> tuple[RedisServer, RedisServer]:
        """Kills the master of a key; returns it and the one that took over."""
        old = self.owner(key)
        old.process.signal(signal.SIGKILL)
        old.process.wait(20)
        eventually(lambda: self.owner(key) is not old, timeout_s=240)
        return old, self.owner(key)

    def _knows(self, server: RedisServer) -> int:
        return int(server.client().cluster("INFO")["cluster_known_nodes"])

    def _complete(self, server: RedisServer) -> bool:
        if server.client().cluster("INFO")["cluster_state"] != "ok":
            return False
        role = server.client().role()
        if role[0] == b"slave":
            return bool(role[3] == b"connected")
        return len(role[2]) == len(self.servers) // self._masters - 1


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _port_with_bus() -> int:
    """Returns a free port whose cluster bus, at the port plus 10000, is free too."""
    while True:
        port = free_port()
        if port > 55_000:
            port -= 25_000
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
