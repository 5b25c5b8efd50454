"""A Ray cluster of several nodes on this machine, each of which can be killed."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.support.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_OBJECT_STORE_BYTES = 100_000_000
_NOTICE = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""Declares a lost node dead within seconds; by default it gets tasks for 15 s more."""

_ATTEMPTS = 4
_SLOW = "The current node timed out during startup"
"""What Ray says when a node is not up within 30 s; on a busy machine its many imports take longer."""


class RayCluster:
    """A head without CPUs, and workers with one CPU each. A node's name is in its `RAY_NODE`.

    Attributes:
        address: For `ray.init` and `--ray-address`, together with `env`.
        env: Environment variables that a driver needs to connect.
    """

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        # Ray listens on all interfaces; with its own token the test does not use the one in ~/.ray.
        self.env = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            # By default workers have 15, and hardly run at all beside other tests.
            "RAY_worker_niceness": "0",
        }
        self._folder = folder
        self._nodes: dict[str, ServerProcess] = {}
        self._started = 0

    @property
    def workers(self) -> list[str]:
        """Names of the workers that run."""
        return [name for name in self._nodes if name != "head"]

    @property
    def up(self) -> bool:
        return all(not node.ended() for node in self._nodes.values())

    def start(self, workers: int) -> None:
        port = self.address.rpartition(":")[2]
        head = ["--head", f"--port={port}", f"--temp-dir={self._folder}", "--num-cpus=0"]
        # Without a monitor, which is one more process that imports all of Ray.
        head += ["--include-dashboard=false", "--no-monitor"]
        head += [f"--ray-client-server-port={free_port()}"]
        head += [f"--system-config={json.dumps(_NOTICE)}"]
        self._start("head", head)
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> str:
        """Starts one more worker. Several at once would use the same socket."""
        self._started += 1
        name = f"worker-{self._started}"
        self._start(name, [f"--address={self.address}", "--num-cpus=1"])
        return name

    def kill_worker(self, name: str | None = None) -> str:
        """Kills all processes of a worker, as if its machine had failed; returns its name."""
        name = name or self.workers[0]
        _kill(self._nodes.pop(name))
        return name

    def stop(self) -> None:
        for name in [*self.workers, "head"]:
            if name in self._nodes:
                _kill(self._nodes.pop(name))

    def _start(self, name: str, arguments: list[str]) -> None:
        ray = Path(sys.executable).with_name("ray")
        command = [str(ray), "start", "--block", "--node-ip-address=127.0.0.1", "--num-gpus=0"]
        command += [f"--object-store-memory={_OBJECT_STORE_BYTES}", *arguments]
        log = self._folder / f"{name}.log"
        for attempt in range(_ATTEMPTS):
            node = ServerProcess(command, log=log, env={**self.env, "RAY_NODE": name})
            try:
                node.start(lambda: "Ray runtime started" in log.read_text(), timeout_s=300)
            except RuntimeError:
                if _SLOW not in log.read_text() or attempt == _ATTEMPTS - 1:
                    raise
            else:
                self._nodes[name] = node
                return


@contextlib.contextmanager
def ray_cluster(workers: int = 2) -> Iterator[RayCluster]:
    """Runs a cluster, and removes its processes and files afterwards."""
    # Not pytest's folder, whose path is too long for Ray's sockets.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    cluster = RayCluster(folder)
    try:
        cluster.start(workers)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _kill(node: ServerProcess) -> None:
    # Ray starts its workers in their own process groups.
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = node.children()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
    node.kill()
