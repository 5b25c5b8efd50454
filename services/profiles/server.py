"""Runs the service under uvicorn: workers, and a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import resource
import shutil
import signal
import tempfile
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import uvicorn
from pydantic_settings import SettingsError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from services.profiles.access.keyring import Keyring
from services.profiles.api.connections import LimitedProtocol, Limits
from services.profiles.errors import StoreUnavailable
from services.profiles.settings import Settings
from services.profiles.stores.registry import fault_of
from services.profiles.telemetry import LOGGER, configure_logging

if TYPE_CHECKING:
    from types import FrameType

_BACKLOG = 2048
_OTHER_FILES = 512
"""Open at a worker beside connections of callers and to Redis: to the model, models, logs."""
_WORKER_HEALTH_S = 60
"""Long, since a worker that shares its cores with a model may answer its supervisor late."""


class _Supervisor(Multiprocess):
    """Workers that share a listening socket, which is closed as soon as they drain."""

    def terminate_all(self) -> None:
        """Asks the workers to drain, and closes the socket that they share.

        While this process held it open, the kernel would accept connections that no worker answers.
        """
        super().terminate_all()
        for socket in self.sockets:
            socket.close()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the process with status 0.

    After draining, uvicorn raises the signal again that it stopped for. Its default action would
    make an orderly shutdown look like a crash.
    """
    raise SystemExit(0)


def serve(*, host: str, port: int, workers: int) -> int:
    """Serves until SIGTERM or SIGINT, then lets requests under way finish.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        workers: Processes.

    Returns:
        The exit status: 0 after an orderly shutdown, 3 when the app could not start.

    Raises:
        SettingsError: Other machines could reach the port without a key, several workers would not
            share their store, or the store is not one that the service can use.
    """
    settings = Settings()
    require_keys(settings, host)
    require_shared_store(settings, workers)
    configure_logging(settings.log_level)
    require_usable_store(settings)
    limits = Limits.of(settings, connections=possible_connections(settings))
    # Read when NumPy is first imported. The product of a matrix and a vector is bound by memory: more
    # threads do not make it faster, and they spin on the cores that other requests need.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    config = uvicorn.Config(
        "services.profiles.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=partial(LimitedProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        access_log=False,
        log_config=None,
        backlog=_BACKLOG,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(settings.drain_s),
        timeout_worker_healthcheck=_WORKER_HEALTH_S,
    )
    server = uvicorn.Server(config)
    if workers == 1:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        server.run()
        return 0 if server.started else STARTUP_FAILURE
    metrics = tempfile.mkdtemp(prefix="reclm-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    supervisor = _Supervisor(config, sockets=[config.bind_socket()])
    try:
        supervisor.run()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)
    failed = any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes)
    return STARTUP_FAILURE if failed else 0


def possible_connections(settings: Settings) -> int:
    """Returns how many connections a worker may have, as many as set if the system allows it.

    Raises this process's limit of open files for that, as far as it goes; workers inherit it.
    """
    others = settings.redis_connections + _OTHER_FILES
    wanted = settings.max_connections + others
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else max(soft, min(wanted, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.max_connections
    possible = max(soft - others, soft // 2)
    LOGGER.warning(
        "the system allows too few open files (ulimit -n) for RECLM_MAX_CONNECTIONS",
        extra={"data": {"files": soft, "connections": possible}},
    )
    return possible


def require_keys(settings: Settings, host: str) -> None:
    """Refuses to serve other machines without asking them for a key.

    Raises:
        SettingsError: There are no API keys, and the address is not this machine's own.
    """
    address = settings.bind or host
    if not _is_loopback(address) and not Keyring.of(settings).callers:
        raise SettingsError(
            f"{address} can be reached from other machines, and there are no API keys: set "
            "RECLM_API_KEYS or RECLM_API_KEYS_FILE, or listen on 127.0.0.1"
        )


def require_shared_store(settings: Settings, workers: int) -> None:
    """Refuses several workers on stores that each of them would have for itself.

    Raises:
        SettingsError: The store is in the memory of a process, and there are several.
    """
    if settings.store == "memory" and workers > 1:
        raise SettingsError(
            f"RECLM_STORE=memory keeps everything in one process, and {workers} workers are several: "
            "use --workers 1, or RECLM_STORE=redis"
        )


def require_usable_store(settings: Settings) -> None:
    """Refuses a store that would never serve: too old, of another kind, or without permissions.

    One that is down does not prevent a start: the service waits for it, and says so in /readyz.

    Raises:
        SettingsError: With what must be changed.
    """
    try:
        fault = asyncio.run(fault_of(settings))
    except StoreUnavailable as error:
        LOGGER.warning("starting without the store", extra={"data": {"why": error.detail}})
        return
    if fault is not None:
        raise SettingsError(fault)


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
