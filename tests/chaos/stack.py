"""The real servers, with a proxy on each way between them, and what faults do to them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Literal

import httpx

from services.assets.fetch import get_model
from tests.chaos.clock import Clock
from tests.chaos.history import Window
from tests.chaos.model import MODELS, calls_in
from tests.support.processes import ServerProcess, free_port
from tests.support.proxy import Proxy
from tests.support.redis_sets import SentinelSet
from tests.support.servers import RedisServer, Service, successes
from tests.support.vllm import MODEL, VllmServer
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.model import ModelCall

ModelName = Literal["scripted", "vllm"]
Fsync = Literal["always", "everysec"]
RedisName = Literal["one", "sentinel"]

_START_S = 180
LIMITS = {
    "RECLM_REDIS_TIMEOUT_S": "1",
    "RECLM_GENERATION_TIMEOUT_S": "20",
    "RECLM_REFRESH_QUIET_S": "0.3",
    "RECLM_REFRESH_MAX_WAIT_S": "2",
    "RECLM_DRAIN_S": "20",
    "RECLM_HISTORY_TOKENS": "2000",
    "RECLM_LOG_LEVEL": "info",
}


class Stack:
    """Redis, a model server and the service, started and stopped as a whole.

    Args:
        folder: For data, logs and bundles.
        model: `scripted`, which tells what it was asked, or a real `vllm`.
        redis: `one` server with an append-only file, or a master with two replicas and three
            `sentinel`s, without files, where a write is acknowledged when a replica has it.
        fsync: When the one server syncs its append-only file.
        bundles: The folder of scorer bundles.
        seed: Of the model's latency, and of what proxies damage.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: ModelName,
        redis: RedisName,
        fsync: Fsync,
        bundles: Path,
        seed: int,
    ) -> None:
        self.folder = folder
        self.model_name = model
        self.versions = MODELS if model == "scripted" else (MODEL, f"{MODEL}-next")
        self.service_clock = Clock(folder / "service-clock")
        self.redis_clock = Clock(folder / "redis-clock")
        self._one = _redis(folder, fsync=fsync, clock=self.redis_clock)
        self.sentinels = _sentinels(folder) if redis == "sentinel" else None
        self.calls_log = folder / "calls"
        self.model, self._model_port = self._model_process(seed)
        self.to_redis = Proxy(self._one.port, seed=seed)
        self.to_model = Proxy(self._model_port, seed=seed + 1)
        self.to_service = Proxy(free_port(), seed=seed + 2)
        self.services: list[Service] = []
        self.served: list[Window] = []
        """When a service of each version ran, by the name of its model."""
        self._windows: dict[int, Window] = {}
        self._bundles = bundles
        self._stopped = False

    @property
    def url(self) -> str:
        """The address of the service, behind its proxy."""
        return f"http://127.0.0.1:{self.to_service.port}"

    @property
    def redis(self) -> RedisServer:
        """The server that takes writes now."""
        return self._one if self.sentinels is None else self.sentinels.master()

    def start(self) -> None:
        """Starts everything."""
        if self.sentinels is None:
            self._one.start()
        else:
            self.sentinels.__enter__()
        self.start_model()
        self.add_service(self.versions[0])
        self.to_service.redirect(self.services[0].port)

    def stop(self) -> None:
        """Stops everything, whatever state it is in."""
        self._stopped = True
        for process in (*(service.process for service in self.services), self.model):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self.sentinels is None:
            self._one.process.kill()
        else:
            self.sentinels.stop()
        for proxy in (self.to_service, self.to_redis, self.to_model):
            proxy.close()

    def add_service(self, version: str) -> Service:
        """Starts a service of a version beside those that run, without sending it requests."""
        env = {
            **LIMITS,
            **self.service_clock.env(),
            "RECLM_MODEL_TIMEOUT_S": "8" if self.model_name == "scripted" else "15",
            "RECLM_VLLM_URL": f"http://127.0.0.1:{self.to_model.port}",
            "RECLM_MODEL": version,
            "RECLM_ENCODER_PATH": str(get_model("all-MiniLM-L6-v2-int8")),
            "RECLM_BUNDLES": str(self._bundles),
        }
        if self.model_name == "vllm":
            env["RECLM_MODEL_PATH"] = str(get_model(MODEL))
        if self.sentinels is None:
            env["RECLM_REDIS_URL"] = f"redis://127.0.0.1:{self.to_redis.port}/0"
        else:
            # They tell the servers' own addresses, past any proxy.
            env["RECLM_REDIS_URL"] = self.sentinels.url
            env["RECLM_REDIS_WAIT_REPLICAS"] = "1"
        service = Service(self.folder, workers=2, env=env)
        service.process.log = self.folder / f"service-{len(self.served)}-{version}.log"
        window = Window(version, time.monotonic())
        self._windows[service.port] = window
        self.served.append(window)
        service.start(timeout_s=_START_S)
        self.services.append(service)
        return service

    def retire_service(self, service: Service) -> None:
        """Asks a service to drain, waits until it has, and notes until when it ran.

        Raises:
            RuntimeError: It did not end in order.
        """
        window = self._windows[service.port]
        service.process.signal(signal.SIGTERM)
        status = service.process.wait(timeout_s=_START_S)
        if status != 0:
            raise RuntimeError(f"a service that was to drain ended with status {status}")
        window.ended = time.monotonic()
        self.services.remove(service)

    def workers(self) -> list[int]:
        """Returns the process ids of the workers of the newest service."""
        children = self.services[-1].process.children()
        return sorted(one.pid for one in children if "spawn_main" in " ".join(one.cmdline()))

    def await_start(self, before: int) -> None:
        """Waits until a worker has started since there were so many starts in the log.

        Raises:
            RuntimeError: The stack was stopped meanwhile.
        """

        def started() -> bool:
            if self._stopped:
                raise RuntimeError("the stack was stopped before a worker had started again")
            return self.starts() > before

        eventually(started, timeout_s=_START_S)

    def starts(self) -> int:
        """Returns how many workers of the newest service have started so far."""
        return self.services[-1].process.log.read_text().count("Application startup complete")

    def start_model(self) -> None:
        """Starts the model server, or starts it again on the same port."""
        self.model.start(self._model_answers, timeout_s=300)

    def calls(self) -> list[ModelCall]:
        """Returns all calls of the scripted model so far."""
        return calls_in(self.calls_log)

    def answered(self) -> int:
        """Returns how many prompts a vLLM has answered since it was started last."""
        return successes(f"http://127.0.0.1:{self._model_port}")

    def _model_process(self, seed: int) -> tuple[ServerProcess, int]:
        if self.model_name == "vllm":
            server = VllmServer(self.folder)
            at = server.process.command.index("--served-model-name") + 1
            server.process.command[at : at + 1] = self.versions
            return server.process, server.port
        port = free_port()
        command = [sys.executable, "-m", "tests.chaos.model", "--port", str(port)]
        command += ["--log", str(self.calls_log), "--seed", str(seed)]
        return ServerProcess(command, log=self.folder / "model.log", env={}), port

    def _model_answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._model_port}/v1/models"
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def _redis(folder: Path, *, fsync: Fsync, clock: Clock) -> RedisServer:
    """Returns a Redis that keeps its data, gets errors for writes beyond a limit, and has a clock."""
    data = folder / "redis"
    data.mkdir()
    server = RedisServer(data, persistent=True)
    command = server.process.command
    command[command.index("--appendfsync") + 1] = fsync
    # Without this, the kernel would kill a process at its limit on the size of files.
    shell = shutil.which("sh") or "/bin/sh"
    server.process.command = [shell, "-c", 'trap "" XFSZ; exec "$@"', "redis", *command]
    server.process.env.update(clock.env())
    return server


def _sentinels(folder: Path) -> SentinelSet:
    """Returns servers that fail over once a master has been silent for two seconds."""
    data = folder / "sentinels"
    data.mkdir()
    return SentinelSet(data, replicas=2, down_ms=2000)
