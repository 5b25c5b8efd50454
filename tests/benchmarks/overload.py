"""Overload: crowds of new users, more load than the model can take, and people beside a backfill.

All of it on the stack of `make up`: the service with two workers, Redis, and vLLM. Every user is
new, and crowds and the steady load have a deadline of three seconds. An answer is late when it comes
later than a tenth after its deadline, on the caller's clock; what is neither a profile nor a 429
counts as late, too. An answer of the model is wasted when it was not stored.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import uvloop

from tests.benchmarks import crowd
from tests.benchmarks.cpu import CpuWatch
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.support.processes import ServerProcess
from tests.support.servers import Service, metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.crowd import Answer
    from tests.benchmarks.stack import Stack

    Bodies = Iterator[dict[str, object]]

_DEADLINE_MS = 3_000
_LATE_S = 1.1 * _DEADLINE_MS / 1000
_BURSTS = (50, 150, 400, 1_000, 2_000)
_CALM_S = 12.0
"""After each crowd: what follows behind the answers is part of the load of the next."""
_TIMES = 3.0
_STEADY_S = 300.0
_SERVED = ("generated", "cached", "stale", "degraded")

_WARM, _TOGETHER = 64, 32
"""Users that the model's speed is measured with, and how many at a time."""

_EVERY_S = 1.5
_PEOPLE = 40
"""People alone, and as many beside the backfill."""
_JOB_S = 45.0
"""How long the job runs by itself, to see its speed."""
_JOB_USERS = 600

_IMPATIENT_S = 30
"""Limit for a generation where callers without a deadline are told when to come back."""
_PATIENT_USERS = 120


def crowds(stack: Stack) -> list[Figure]:
    """Bursts of new users, then five minutes of more than the model can do."""
    service, watch, speed = stack.service, CpuWatch(), _speed(stack)
    bodies = crowd.new_users(stack.users, seed=2)
    before = _commits(service)
    found = {}
    for size in _BURSTS:
        found[f"{size} at once"] = uvloop.run(
            crowd.at_once(service.port, [_hasty(next(bodies)) for _ in range(size)])
        )
        time.sleep(_CALM_S)
    found[f"{_TIMES:g} times the model's {speed:.2f} profiles/s for {_STEADY_S:g} s"] = uvloop.run(
        crowd.at_rate(service.port, map(_hasty, bodies), rate=_TIMES * speed, seconds=_STEADY_S)
    )
    time.sleep(_CALM_S)
    stored, commits = (now - then for now, then in zip(_commits(service), before, strict=True))
    answers = [answer for some in found.values() for answer in some]
    return [
        Figure(
            "overload.late_share",
            sum(map(_late, answers)) / len(answers),
            "share",
            at_most(0.01),
            {name: _described(some) for name, some in found.items()}
            | {"CPU of others and of a given vLLM": f"{watch.others():.0%}"},
        ),
        Figure(
            "overload.wasted_share",
            1 - stored / commits,
            "share",
            at_most(0.01),
            {
                "answers of the model": commits,
                "stored": stored,
                "prompts put off": metric(service.url, "reclm_prompts_put_off_total"),
            },
        ),
    ]


@functools.cache
def _speed(stack: Stack) -> float:
    """Returns the profiles a second that the service makes when many are asked for at a time."""
    bodies = crowd.new_users(stack.users, seed=1)
    port = stack.service.port
    uvloop.run(crowd.one_by_one(port, bodies, count=8, together=8))
    return _WARM / uvloop.run(crowd.one_by_one(port, bodies, count=_WARM, together=_TOGETHER))


def _hasty(body: dict[str, object]) -> dict[str, object]:
    return {**body, "deadline_ms": _DEADLINE_MS}


def _late(answer: Answer) -> bool:
    return answer.status not in {*_SERVED, "429"} or answer.seconds > _LATE_S


def _described(answers: Sequence[Answer]) -> str:
    statuses = Counter(answer.status for answer in answers)
    shares = ", ".join(f"{name} {n / len(answers):.1%}" for name, n in statuses.most_common())
    times = sorted(answer.seconds for answer in answers)
    return (
        f"{shares}; p50 {times[len(times) // 2]:.2f} s, p99 {times[len(times) * 99 // 100]:.2f} s, "
        f"late {sum(map(_late, answers))} of {len(answers)}"
    )


def _commits(service: Service) -> tuple[int, int]:
    """Returns how many answers of the model were stored, and how many there were."""
    name = "reclm_commits_total"
    return metric(service.url, name, outcome="stored"), metric(service.url, name)


def beside_backfill(stack: Stack) -> list[Figure]:
    """People by themselves, then a backfill by itself, then both."""
    service, speed = stack.service, _speed(stack)
    bodies = crowd.new_users(stack.users, seed=3)
    alone = uvloop.run(_people(service, bodies))
    folder = stack.folder / "overload"
    folder.mkdir()
    histories = folder / "histories.ndjson"
    histories.write_text(
        "".join(json.dumps(next(bodies)) + "\n" for _ in range(_JOB_USERS)), encoding="utf-8"
    )
    job = ServerProcess(
        [
            *(
                sys.executable,
                "-m",
                "services.cli",
                "backfill",
                "--kind",
                "user",
                "--url",
                service.url,
            ),
            *("--histories", str(histories), "--out", str(folder / "out")),
        ],
        log=folder / "job.log",
        env={},
    )
    before = _commits(service)[0]
    job.start(lambda: _commits(service)[0] > before + _TOGETHER, timeout_s=120)
    try:
        by_itself = _rate(service, _JOB_S)
        at, made = time.perf_counter(), _commits(service)[0]
        beside = uvloop.run(_people(service, bodies))
        during = (_commits(service)[0] - made - len(beside)) / (time.perf_counter() - at)
        if job.ended():
            raise RuntimeError(f"the backfill ended: {job.log.read_text()[-2000:]}")
    finally:
        job.stop()
    notes = {
        f"{name}: p50, p95, longest s": ", ".join(
            f"{value:.2f}" for value in (statistics.median(times), _p95(times), max(times))
        )
        for name, times in (("alone", alone), ("beside", beside))
    } | {"people each": _PEOPLE, "one every s": _EVERY_S}
    return [
        Figure(
            "overload.beside_backfill_p95_ratio",
            _p95(beside) / _p95(alone),
            "beside/alone",
            at_most(2),
            notes,
        ),
        Figure(
            "overload.job_speed_kept",
            by_itself / speed,
            "job/full speed",
            at_least(0.9),
            {
                "profiles/s by itself": round(by_itself, 2),
                "beside people": round(during, 2),
                f"full speed, {_TOGETHER} requests at a time": round(speed, 2),
            },
        ),
    ]


async def _people(service: Service, bodies: Bodies) -> list[float]:
    """Returns the seconds that people waited who came one after another, without a deadline."""
    answers = await crowd.at_rate(
        service.port, bodies, rate=1 / _EVERY_S, seconds=_PEOPLE * _EVERY_S
    )
    failed = [answer.status for answer in answers if answer.status not in {"generated", "502"}]
    if failed:
        raise RuntimeError(f"people got {failed} instead of their profiles")
    return [answer.seconds for answer in answers]


def _rate(service: Service, seconds: float) -> float:
    at, made = time.perf_counter(), _commits(service)[0]
    time.sleep(seconds)
    return (_commits(service)[0] - made) / (time.perf_counter() - at)


def _p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) * 95 // 100]


def promises(stack: Stack) -> list[Figure]:
    """A crowd without deadlines, on a service whose generations may take no longer than it says."""
    bodies = crowd.new_users(stack.users, seed=4)
    service = Service(
        stack.folder,
        workers=1,
        env={**stack.settings, "RECLM_GENERATION_TIMEOUT_S": str(_IMPATIENT_S)},
    )
    service.start()
    try:
        # What the service has not seen yet it cannot expect.
        uvloop.run(crowd.one_by_one(service.port, bodies, count=16, together=8))
        first, second = uvloop.run(
            crowd.told_to_come_back(service.port, [next(bodies) for _ in range(_PATIENT_USERS)])
        )
    finally:
        service.process.stop()
    served = sum(answer.status in _SERVED for answer in second)
    return [
        Figure(
            "overload.retry_after_kept",
            served / len(second),
            "share",
            None,
            {"at first": _described(first), "who came back when told to": _described(second)},
        )
    ]
