"""The worst requests that each call accepts, and what they do to a worker and to everybody else.

One worker, a real Redis, a scripted model server. Two callers, or eight, send the same request over and
over, each on a new connection, for some seconds; meanwhile somebody asks /healthz every ten milliseconds.
Bodies are as large as each call takes them, and made of what is most expensive to read: objects
without members, members that nobody knows, as many strings as may be; beside them, the largest
requests that make sense. The figures are those of the worst case; the notes have all of them.

The worker's peak is counted anew for each case (VmHWM), all that it loaded at its start included.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import numpy as np

from tests.benchmarks.cpu import CpuWatch
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.peak import forget_peak, peak_bytes
from tests.support.bundles import Made, neighbours, seen
from tests.support.model_server import MODEL, ModelServer
from tests.support.servers import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.stack import Stack

_CALLERS = 2
_SECONDS = 4.0
_PROFILES = 200
_ITEMS = 20_000
_DIMENSION = 64
_PROFILE = 384
_MIB = 1024 * 1024
_JSON, _NDJSON = "application/json", "application/x-ndjson"
_ARROW = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True, slots=True)
class _Case:
    """A request that is sent again and again."""

    name: str
    path: str
    body: bytes = b""
    method: str = "POST"
    type: str = _JSON
    accept: str = _JSON
    callers: int = _CALLERS


@dataclass(frozen=True, slots=True)
class _Outcome:
    statuses: Counter[int]
    p99_ms: float
    worst_ms: float
    peak_mib: float

    def __str__(self) -> str:
        answers = ", ".join(
            f"{count} x {status}" for status, count in sorted(self.statuses.items())
        )
        return (
            f"{self.peak_mib:,.0f} MiB, /healthz p99 {self.p99_ms:.0f} ms, "
            f"worst {self.worst_ms:.0f} ms ({answers})"
        )


def measure(stack: Stack) -> list[Figure]:
    bundles = stack.folder / "hostile-bundles"
    _write_bundle(bundles)
    with ModelServer() as model:
        settings = {
            **stack.base_settings,
            "RECLM_TENANT": "hostile",
            "RECLM_MODEL": MODEL,
            "RECLM_VLLM_URL": model.url,
            "RECLM_BUNDLES": str(bundles),
        }
        service = Service(stack.folder, workers=1, env=settings)
        service.start()
        try:
            _prepare(service.url)
            watch = CpuWatch()
            with _asking(service.port) as quiet:
                time.sleep(_SECONDS)
            outcomes = {}
            for case in _cases():
                outcomes[case.name] = _try(service, case)
                print(f"  {case.name}: {outcomes[case.name]}", flush=True)
            others = watch.others()
        finally:
            service.process.stop()
    slowest = max(outcomes, key=lambda name: outcomes[name].p99_ms)
    largest = max(outcomes, key=lambda name: outcomes[name].peak_mib)
    notes: dict[str, object] = {
        "callers": _CALLERS,
        "seconds a case": _SECONDS,
        "/healthz alone, p99": f"{_p99(quiet):.1f} ms",
        "CPU of others": f"{others:.0%}",
        **{name: str(outcome) for name, outcome in outcomes.items()},
    }
    p99 = outcomes[slowest].p99_ms
    return [
        Figure(
            "hostile.peak_mib",
            outcomes[largest].peak_mib,
            "MiB",
            at_most(1_024),
            {"case": largest, **notes},
        ),
        Figure("hostile.healthz_p99_ms", p99, "ms", at_most(250), {"case": slowest}),
        Figure(
            "hostile.healthz_p99_ms_median_case",
            statistics.median(outcome.p99_ms for outcome in outcomes.values()),
            "ms",
        ),
    ]


def _cases() -> Iterator[_Case]:
    users = [f"hostile-{number % _PROFILES}" for number in range(10_000)]
    ids = json.dumps({"ids": users}).encode()
    yield _Case("embeddings, 10,000 as JSON", "/embeddings/user", ids)
    yield _Case("embeddings, 10,000 as Arrow", "/embeddings/user", ids, accept=_ARROW)
    far = json.dumps({"ids": [str(number).rjust(190, "x") for number in range(10_000)]}).encode()
    yield _Case("embeddings, 10,000 long ids", "/embeddings/user", far)
    yield _Case("embeddings, 10,000 as JSON to eight", "/embeddings/user", ids, callers=8)
    for name, body in _expensive(b'{"ids":["a"]', 2 * _MIB).items():
        yield _Case(f"embeddings, {name}", "/embeddings/user", body)

    history = [_item(number, 700) for number in range(1000)]
    profile = json.dumps({"id": "hostile-new", "history": history, "refresh": True}).encode()
    yield _Case("profile, 1,000 items inline", "/profiles/user", profile)
    for name, body in _expensive(b'{"id":"a"', _MIB).items():
        yield _Case(f"profile, {name}", "/profiles/user", body)
    wrong = [body for body in _expensive(b'{"id":"a"', _MIB).values() if len(body) <= _MIB]
    rows = b"\n".join(wrong[number % len(wrong)] for number in range(60))
    yield _Case("batch, rows of 1 MiB that are wrong", "/profiles/user:batch", rows, type=_NDJSON)
    yield _Case("the same from eight", "/profiles/user:batch", rows, type=_NDJSON, callers=8)
    members = _filled(b'"":0', b'{"id":"a",', b"}", 4000)
    rows = b"\n".join([members] * 10_000)
    yield _Case("batch, 10,000 rows of 800 members", "/profiles/user:batch", rows, type=_NDJSON)
    yield _Case(
        "batch, 64 MiB of line breaks", "/profiles/user:batch", b"\n" * 64 * _MIB, type=_NDJSON
    )
    known = b"\n".join(json.dumps({"id": user, "embedding": True}).encode() for user in users)
    yield _Case("batch, 10,000 cached", "/profiles/user:batch", known, type=_NDJSON)

    items = b"\n".join(json.dumps(_item(number, 6000)).encode() for number in range(10_000))
    yield _Case("items batch, 10,000 of 6 KiB", "/items:batch", items, type=_NDJSON)
    yield _Case("items, a page of 1,000", "/items?limit=1000", method="GET")
    one = {"title": "t", "description": "\U0001f3ac" * 8192}
    yield _Case("item", "/items/hostile-one", json.dumps(one).encode(), method="PUT")

    score = {
        "user_id": "hostile-0",
        "history": [f"item-{number}" for number in range(1000)],
        "candidates": [f"item-{number}" for number in range(10_000)],
        "exclude": [f"item-{number}" for number in range(10_000, 20_000)],
        "k": 1000,
    }
    yield _Case("score, 10,000 candidates", "/score", json.dumps(score).encode())
    for name, body in _expensive(b'{"user_id":"a"', _MIB).items():
        yield _Case(f"score, {name}", "/score", body)
    row = json.dumps({"user_id": "hostile-0", "history": score["history"], "k": 1000}).encode()
    yield _Case("score batch, 200 rows", "/score:batch", b"\n".join([row] * 200), type=_NDJSON)

    # The last one: its users' profiles are made behind the answers.
    events = {
        "events": [
            {"user_id": f"{number}".rjust(200, "u"), "item_id": f"item-{number}"}
            for number in range(1000)
        ]
    }
    yield _Case("interactions, 1,000 users", "/interactions", json.dumps(events).encode())


def _expensive(before: bytes, size: int) -> dict[str, bytes]:
    """Returns what is refused for its shape, and what is just not refused for it."""
    rest = b',"x":['
    return {
        "a body of objects": _filled(b'{"":0}', before + rest, b"]}", size),
        "a body of members": _filled(b'"":0', before + b",", b"}", size),
        "a body of numbers": _filled(b"7", before + rest, b"]}", size),
        "15,900 arrays": before + rest + b",".join([b"[]"] * 15_900) + b"]}",
        "15,900 objects": before + rest + b",".join([b'{"":0}'] * 15_900) + b"]}",
        "19,000 members": before + b"," + b",".join([b'"":0'] * 19_000) + b"}",
        "45,000 strings": before + rest + b",".join([b'"\\n"'] * 45_000) + b"]}",
    }


def _filled(unit: bytes, before: bytes, after: bytes, size: int) -> bytes:
    count = (size - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * count) + after


def _item(number: int, size: int) -> dict[str, str]:
    return {
        "id": f"item-{number}",
        "title": f"Title {number}",
        "description": "word " * (size // 5),
    }


def _prepare(url: str) -> None:
    """Fills the catalogue, has profiles made, and activates the bundle."""
    with httpx.Client(base_url=url, timeout=300) as client:
        rows = [json.dumps(_item(number, 8190)) for number in range(1000)]
        rows += [
            json.dumps({"id": f"item-{n}", "title": f"Title {n}"}) for n in range(1000, 10_000)
        ]
        users = (f"hostile-{number}" for number in range(_PROFILES))
        asked = [json.dumps({"id": user, "history": [{"title": "Heat"}]}) for user in users]
        for path, lines in (("/items:batch", rows), ("/profiles/user:batch", asked)):
            answer = client.post(path, content="\n".join(lines), headers={"Content-Type": _NDJSON})
            failed = [
                line for line in answer.raise_for_status().text.splitlines() if '"error"' in line
            ]
            if failed:
                raise RuntimeError(f"{path}: {failed[0]}")
        client.post("/admin/scorers/hostile/activate").raise_for_status()


def _try(service: Service, case: _Case) -> _Outcome:
    """Has callers send a request again and again, and asks /healthz meanwhile."""
    worker = service.process.pid  # the only one is no child
    forget_peak(worker)
    statuses = Counter[int]()
    lock = threading.Lock()

    def call() -> None:
        until = time.perf_counter() + _SECONDS
        while True:
            status = _send(service.port, case)
            with lock:
                statuses[status] += 1
            if time.perf_counter() > until:
                return

    callers = [threading.Thread(target=call) for _ in range(case.callers)]
    with _asking(service.port) as times:
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
    return _Outcome(statuses, _p99(times), max(times), peak_bytes(worker) / _MIB)


def _send(port: int, case: _Case) -> int:
    """Sends a request and reads the answer to its end; returns the status, 0 for a cut connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": case.type, "Accept": case.accept}
    try:
        with contextlib.suppress(BrokenPipeError):  # refused before its end; the answer says why
            connection.request(case.method, case.path, case.body, headers)
        answer = connection.getresponse()
        while answer.read(_MIB):
            pass
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return answer.status


@contextlib.contextmanager
def _asking(port: int) -> Iterator[list[float]]:
    """Asks /healthz meanwhile; how long each answer took is in the list afterwards, in ms."""
    command = [sys.executable, "-m", "tests.benchmarks.hostile_side", str(port)]
    pipe = subprocess.PIPE
    times: list[float] = []
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as side:
        assert side.stdout is not None
        side.stdout.readline()
        yield times
        output, _ = side.communicate()
        if side.returncode:
            raise RuntimeError(f"the process that asks /healthz ended with {side.returncode}")
    times += json.loads(output)


def _p99(times: list[float]) -> float:
    return float(np.percentile(times, 99))


def _write_bundle(folder: Path) -> None:
    rng = np.random.default_rng(5)
    made = Made(
        item_ids=[f"item-{row}" for row in range(_ITEMS)],
        user_ids=[],
        arrays={
            "item_vectors": rng.standard_normal((_ITEMS, _DIMENSION), np.float32),
            "item_bias": rng.standard_normal(_ITEMS, np.float32),
            "history_vectors": rng.standard_normal((_ITEMS, _DIMENSION), np.float32),
            "user_vectors": np.empty((0, _DIMENSION), np.float32),
            **seen([]),
            **neighbours(_ITEMS),
        },
        history_weight=rng.standard_normal((_DIMENSION, _DIMENSION), np.float32),
        profile_weight=rng.standard_normal((_PROFILE, _DIMENSION), np.float32),
    )
    made.write(folder, "hostile")
