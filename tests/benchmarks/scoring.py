"""POST /score for cached profiles, beside the product that every score takes.

The bundle is random: 158,155 items (the size of the industrial data of the paper), vectors of 64
numbers, a linear tower. Requests come at 50 a second whether or not the ones before have
been answered, each with twenty clicks and a profile that is in Redis, for two workers on the real
service. The product is that of the same matrix, on one core, in turns with the requests: a single
one as often as a request comes, since after twenty milliseconds the matrix has left the processor's
cache, for the product as for the service. The time of product after product is given as well.

The ratio is taken in each round, and the median of the rounds is the figure: slow requests come in
runs of some hundred milliseconds, in which nearly all are slow, and a hundredth of all requests is
soon reached. What all requests together had is in the notes, beside the rounds, and `scoring.p99`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from services.profiles.domain.profile import (
    Component,
    Profile,
    ProfileKey,
    ProfileText,
    ProfileVersion,
)
from services.profiles.domain.requests import ProfileRequest
from services.profiles.stores import codec
from services.profiles.stores.redis import keys
from tests.benchmarks import load, pacing
from tests.benchmarks.cpu import CpuWatch
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.stack import WORKERS
from tests.support.bundles import Made, neighbours, seen
from tests.support.servers import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.stack import Stack

_ITEMS = 158_155
_DIMENSION = 64
_PROFILE = 384
_USERS = 64
_CLICKS = 20
_RATE = 50
_ROUNDS, _SECONDS = 12, 5.0
_SILENT_EVERY = 6
"""Requests that ask for no reasons have every so many-th round, too: they have no goal."""
_SETTLE_S = 1.0
"""Before each round: new connections, and workers that have slept for seconds."""
_WARM_UP_RATE, _WARM_UP_S = 200, 6.0
"""Each worker meets each user, or it would encode interests while it is measured."""
_PRODUCTS = 50
_BEGINS = b'{"scorer":"large"'


def measure(stack: Stack) -> list[Figure]:
    folder = stack.folder / "bundles"
    _write(folder)
    settings = {**stack.base_settings, "RECLM_BUNDLES": str(folder)}
    service = Service(stack.folder, workers=WORKERS, env=settings)
    service.start()
    try:
        return _measure(stack, service, folder / "large" / "item_vectors.npy")
    finally:
        service.process.stop()


def _measure(stack: Stack, service: Service, matrix: Path) -> list[Figure]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        version = client.get("/readyz").json()["version"]
        client.post("/admin/scorers/large/activate").raise_for_status()
        time.sleep(2)  # the other worker follows within one
    histories = _profiled(stack, version)
    requests = {
        reasons: [
            load.post(
                "/score",
                json.dumps({"user_id": id_, "history": history, "reasons": reasons}).encode(),
            )
            for id_, history in histories.items()
        ]
        for reasons in (True, False)
    }

    def paced(rate: float, seconds: float, *, reasons: bool) -> list[float]:
        times = pacing.run(
            service.port, requests[reasons], begins=_BEGINS, rate=rate, seconds=_SETTLE_S + seconds
        )
        return times[int(rate * _SETTLE_S) :]

    for reasons in (True, False):
        paced(_WARM_UP_RATE, _WARM_UP_S, reasons=reasons)
    products, hot, told, silent = [], [], [], []
    ratios = []
    watch = CpuWatch()
    for number in range(_ROUNDS):
        own = _products(matrix, every_s=1 / _RATE)
        times = paced(_RATE, _SECONDS, reasons=True)
        ratios.append(_at(times, 99) / statistics.median(own))
        products += own
        told += times
        if number % _SILENT_EVERY == 0:
            hot += _products(matrix)
            silent += paced(_RATE, _SECONDS, reasons=False)
    others = watch.others()
    product, product_hot = statistics.median(products), statistics.median(hot)
    most = load.run(
        service.port,
        requests[True],
        begins=_BEGINS,
        connections=8,
        seconds=_SECONDS,
    ).rate

    notes = {
        "items": _ITEMS,
        "numbers a vector": _DIMENSION,
        "clicks a request": _CLICKS,
        "requests": len(told),
        "requests/s": _RATE,
        "workers": WORKERS,
        "rounds": ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios)),
        "all requests together": round(_at(told, 99) / product, 2),
        "over a product in a tight loop": round(_at(told, 99) / product_hot, 2),
        "CPU of others": f"{others:.0%}",
    }
    return [
        Figure("scoring.p99_ratio", statistics.median(ratios), "p99/product", at_most(3), notes),
        Figure("scoring.p50", _at(told, 50), "ms"),
        Figure("scoring.p99", _at(told, 99), "ms"),
        Figure("scoring.p50_without_reasons", _at(silent, 50), "ms"),
        Figure("scoring.p99_without_reasons", _at(silent, 99), "ms"),
        Figure("scoring.product", product, "ms"),
        Figure("scoring.product_in_a_loop", product_hot, "ms"),
        Figure("scoring.requests", most, "requests/s"),
    ]


def _write(folder: Path) -> None:
    """Writes the bundle `large`."""
    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((_ITEMS, _DIMENSION), np.float32)
    made = Made(
        item_ids=[f"item-{row}" for row in range(_ITEMS)],
        user_ids=[],
        arrays={
            "item_vectors": matrix,
            "item_bias": rng.standard_normal(_ITEMS, np.float32),
            "history_vectors": rng.standard_normal((_ITEMS, _DIMENSION), np.float32),
            "user_vectors": np.empty((0, _DIMENSION), np.float32),
            **seen([]),
            **neighbours(_ITEMS),
        },
        history_weight=rng.standard_normal((_DIMENSION, _DIMENSION), np.float32),
        profile_weight=rng.standard_normal((_PROFILE, _DIMENSION), np.float32),
    )
    made.write(folder, "large")


def _profiled(stack: Stack, version: dict[str, Any]) -> dict[str, list[str]]:
    """Stores profiles of the service's version; returns the histories of their users."""
    rng = np.random.default_rng(6)
    parts = {name: part and Component(**part) for name, part in version.items()}
    of = ProfileVersion(**parts)
    histories = {}
    client = stack.redis.client()
    for number in range(_USERS):
        key = ProfileKey("default", "user", f"scored-{number}")
        vector = rng.standard_normal(_PROFILE)
        interests = tuple(f"interest {place} of {number % 16}" for place in range(3))
        profile = Profile(
            id=key.id,
            words=ProfileText("user", ("reader", "traveller", "parent"), interests),
            vector=(vector / np.linalg.norm(vector)).astype(np.float16),
            version_digest=of.digest(),
            input_hash=bytes(16),
            request_digest=ProfileRequest(key).digest(),
            created_ms=time.time_ns() // 1_000_000,
        )
        client.set(keys.profile(key), codec.encode(profile), ex=3600)
        rows = rng.choice(_ITEMS, _CLICKS, replace=False)
        histories[key.id] = [f"item-{row}" for row in rows]
    return histories


_PRODUCT = """
import sys, time
import numpy as np
matrix = np.asfortranarray(np.load(sys.argv[1], allow_pickle=False))
vector = np.ones(matrix.shape[1], np.float32)
every_s = float(sys.argv[3])
due = time.perf_counter()
for turn in range(int(sys.argv[2])):
    due += every_s
    time.sleep(max(0.0, due - time.perf_counter()))
    started = time.perf_counter()
    matrix @ vector
    print((time.perf_counter() - started) * 1000)
"""


def _products(matrix: Path, *, every_s: float = 0.0) -> list[float]:
    """Returns the times of single products, in milliseconds, so many seconds apart.

    In a process of its own, since NumPy's threads can only be set before it is imported. With two
    of them a product takes longer here, and so it does where the matrix lies by rows, as the
    bundle's does: the goal would be easier.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCT, str(matrix), str(_PRODUCTS), str(every_s)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def _at(times: list[float], percent: int) -> float:
    return float(np.percentile(times, percent))
