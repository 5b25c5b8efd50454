"""Runs the service under uvicorn: workers, and a shutdown that loses no request."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING, NoReturn

import uvicorn
from pydantic_settings import SettingsError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from services.profiles.access.keyring import Keyring
from services.profiles.settings import Settings
from services.profiles.telemetry import configure_logging

if TYPE_CHECKING:
    from types import FrameType

_BACKLOG = 2048
_WORKER_HEALTH_S = 60
"""A worker that shares its cores with a model may be slow to answer its supervisor."""


class _Supervisor(Multiprocess):
    """Workers that share a listening socket, refused to newcomers as soon as they drain."""

    def terminate_all(self) -> None:
        """Asks the workers to drain, and lets go of the socket that they were given.

        As long as this process held it, the kernel would go on to accept connections that
        nobody is going to answer.
        """
        super().terminate_all()
        for socket in self.sockets:
            socket.close()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the process with status 0.

    When it has drained, uvicorn raises the signal that it stopped for once more. Left to the
    default action, an orderly shutdown would look like a death.
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
        SettingsError: Strangers could reach the port, and nobody would ask them for a key.
    """
    settings = Settings()
    require_keys(settings, host)
    configure_logging(settings.log_level)
    # Read when NumPy is first imported. A product of a matrix and a vector waits for memory: more
    # threads make it no faster, and spin on the cores that other requests need.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    config = uvicorn.Config(
        "services.profiles.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
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


def require_keys(settings: Settings, host: str) -> None:
    """Refuses to serve strangers who need no key.

    Raises:
        SettingsError: There are no API keys, and the address is not this machine's own.
    """
    address = settings.bind or host
    if not _is_loopback(address) and not Keyring.of(settings).callers:
        raise SettingsError(
            f"{address} can be reached from other machines, and there are no API keys: set "
            "RECLM_API_KEYS or RECLM_API_KEYS_FILE, or listen on 127.0.0.1"
        )


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
