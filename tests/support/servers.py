"""Real servers for tests, on free loopback ports: Redis and the service."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from services.assets.fetch import get_model
from services.common.home import reclm_home
from tests.support.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def redis_binary() -> str:
    """Returns the server to test on; RECLM_TEST_REDIS_SERVER names another, such as valkey-server."""
    given = os.environ.get("RECLM_TEST_REDIS_SERVER") or shutil.which("redis-server")
    return given or str(get_model("redis-server", home=reclm_home()))


class RedisServer:
    """A redis-server; by default it stores nothing on disk.

    Args:
        folder: For its log and data.
        persistent: Whether to append every write to a file that a restart loads.
        port: To listen on; a free one if it is not given.
        options: More of its options, as on its command line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        persistent: bool = False,
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        binary = redis_binary()
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "yes" if persistent else "no"]
        command += ["--appendfsync", "always", *options]
        self.process = ServerProcess(command, log=folder / "redis.log", env={})

    def start(self) -> None:
        self.process.start(self._answers, timeout_s=20)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False


class Service:
    """The profile service under uvicorn, as `reclm-serve run` starts it.

    Args:
        folder: For its log.
        env: Settings that override the environment of the test run.
    """

    def __init__(self, folder: Path, *, workers: int = 1, env: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "services.cli", "run", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", str(workers)]
        self.workers = workers
        self.process = ServerProcess(command, log=folder / f"service-{self.port}.log", env=env)

    def start(self, *, timeout_s: float = 60) -> None:
        self.process.start(self._answers, timeout_s=timeout_s)

    def log(self) -> list[dict[str, Any]]:
        """Returns the complete lines of the log so far."""
        lines = self.process.log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def _answers(self) -> bool:
        try:
            if httpx.get(f"{self.url}/healthz", timeout=2).status_code != 200:
                return False
        except httpx.HTTPError:
            return False
        log = self.process.log.read_text()
        return log.count("Application startup complete") >= self.workers


def metric(url: str, name: str, **labels: str) -> int:
    """Returns the sum of a server's Prometheus samples with this name and these labels."""
    text = httpx.get(f"{url}/metrics", timeout=10).text
    return int(
        sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
    )


def successes(vllm_url: str) -> int:
    """Returns the number of requests that a vLLM server has answered, from its metrics."""
    return metric(vllm_url, "vllm:request_success_total")
