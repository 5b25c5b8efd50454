"""Cache hits: requests per second of the service over those of a bare app on the same Redis.

Same workers, same load generator, same request bodies, same stored profiles; only the path
differs, since the bare app takes the key from it. Rounds alternate.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
from typing import TYPE_CHECKING

import httpx

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores.redis import keys
from tests.benchmarks import load
from tests.benchmarks.cpu import CpuWatch, worker_seconds
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.stack import WORKERS
from tests.support.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.stack import Stack

_USERS = 64
_CONNECTIONS = 32
_ROUNDS = 9
_ROUND_S = 3.0
_WARM_UP_S = 1.0


def measure(stack: Stack) -> list[Figure]:
    users = stack.profiled(_USERS)
    bodies = [
        json.dumps({"id": user.id, "history": user.history}, separators=(",", ":")).encode()
        for user in users
    ]
    names = [keys.profile(ProfileKey("default", "user", user.id)).decode() for user in users]
    hits = [load.post("/profiles/user", body) for body in bodies]
    gets = [load.post(f"/{name}", body) for name, body in zip(names, bodies, strict=True)]

    service = stack.service

    def hit(seconds: float) -> float:
        return load.run(
            service.port,
            hits,
            begins=b'{"status":"cached"',
            connections=_CONNECTIONS,
            seconds=seconds,
        ).rate

    with _bare(stack) as (port, pid):

        def get(seconds: float) -> float:
            return load.run(
                port, gets, begins=b"\x01", connections=_CONNECTIONS, seconds=seconds
            ).rate

        hit(_WARM_UP_S)
        get(_WARM_UP_S)
        watch = CpuWatch()
        before = {server: worker_seconds(server) for server in (service.process.pid, pid)}
        rounds = [(hit(_ROUND_S), get(_ROUND_S)) for _ in range(_ROUNDS)]
        others = watch.others()
        spread = {server: _spread(before[server], worker_seconds(server)) for server in before}

    hit_rates, get_rates = zip(*rounds, strict=True)
    ratio = statistics.median(hit_rates) / statistics.median(get_rates)
    notes = {
        "rounds": _ROUNDS,
        "seconds a round": _ROUND_S,
        "connections": _CONNECTIONS,
        "lowest round": round(min(a / b for a, b in rounds), 3),
        "highest round": round(max(a / b for a, b in rounds), 3),
        "CPU of the service's workers": spread[service.process.pid],
        "CPU of the bare app's workers": spread[pid],
        "CPU of others": f"{others:.0%}",
    }
    return [
        Figure("serving.hit_ratio", ratio, "hit/GET", at_least(0.6), notes),
        Figure("serving.hits", statistics.median(hit_rates), "requests/s"),
        Figure("serving.bare_gets", statistics.median(get_rates), "requests/s"),
    ]


@contextlib.contextmanager
def _bare(stack: Stack) -> Iterator[tuple[int, int]]:
    """Runs the bare app as the service runs; yields its port and its supervisor's process id."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.bare_app:app"]
    command += ["--port", str(port), "--workers", str(WORKERS), "--lifespan", "off"]
    command += ["--loop", "uvloop", "--http", "httptools", "--backlog", "2048"]
    command += ["--no-access-log", "--no-proxy-headers", "--no-server-header", "--no-date-header"]
    log = stack.folder / "bare.log"
    process = ServerProcess(command, log=log, env={"BENCH_REDIS_URL": stack.redis.url})

    def ready() -> bool:
        if log.read_text().count("Started server process") < WORKERS:
            return False
        with contextlib.suppress(httpx.HTTPError):
            # There is no such key: the app fails, and so it runs.
            return httpx.get(f"http://127.0.0.1:{port}/", timeout=2).status_code == 500
        return False

    process.start(ready, timeout_s=30)
    try:
        yield port, process.pid
    finally:
        process.stop()


def _spread(before: dict[int, float], after: dict[int, float]) -> str:
    """Returns how the workers shared the work, as `49:51`."""
    used = sorted(after[pid] - before[pid] for pid in before)[-WORKERS:]
    return ":".join(f"{100 * share / sum(used):.0f}" for share in used)
