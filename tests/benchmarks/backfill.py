"""The batch job: how much of the model server's best it gets, how fast it resumes, its memory.

For throughput, the job and the same prompts sent straight to vLLM alternate. Sets of users come in
pairs that neither side has seen; a block gives each set to both, in the order job, vLLM, vLLM, job,
so that each side finds as many prompts in vLLM's prefix cache as the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reclm_client import ReclmClient
from services.profiles.domain.profile import Component, ProfileVersion
from tests.benchmarks.cpu import CpuWatch
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.prompts import record
from tests.support.servers import metric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import reclm_client as client
    from tests.benchmarks.stack import Stack, User

_SET = 128
_BLOCKS = 2
_SOUNDING = 128
"""Prompts that the best level is found with; no block has them."""
_LEVELS = (32, 64, 128)
_FEW, _MANY = 10_000, 1_000_000
_CHOICES = 10
_TIMEOUT_S = 600.0
_MALFORMED = "reclm_model_malformed_total"


def throughput(stack: Stack) -> list[Figure]:
    users = stack.users[: 2 * _BLOCKS * _SET + _SOUNDING]
    prompts = record(stack, users)
    others = users[-_SOUNDING:]
    best, levels = asyncio.run(_best_level(stack, [prompts[user.id] for user in others]))
    watch = CpuWatch()
    malformed = metric(stack.service.url, _MALFORMED)
    jobs, straight = [], []
    for block in range(_BLOCKS):
        first, second = (users[start : start + _SET] for start in _starts(block))
        seconds = {"job": 0.0, "straight": 0.0}
        for side, chosen, again in (
            ("job", first, 0),
            ("straight", second, 0),
            ("straight", first, 1),
            ("job", second, 1),
        ):
            if side == "job":
                seconds[side] += _job(stack, chosen, name=f"{block}-{again}")
            else:
                bodies = [prompts[user.id] for user in chosen]
                seconds[side] += asyncio.run(_straight(stack, bodies, best))
        jobs.append(2 * _SET / seconds["job"])
        straight.append(2 * _SET / seconds["straight"])
    ratios = [a / b for a, b in zip(jobs, straight, strict=True)]
    notes: dict[str, object] = {
        "blocks": _BLOCKS,
        "profiles a side": 2 * _SET * _BLOCKS,
        "by block": ", ".join(f"{ratio:.3f}" for ratio in ratios),
        "answers/s of vLLM by requests at a time": ", ".join(
            f"{level}: {rate:.2f}" for level, rate in levels.items()
        ),
        "malformed answers asked again": metric(stack.service.url, _MALFORMED) - malformed,
        "CPU of others and of a given vLLM": f"{watch.others():.0%}",
    }
    ratio = statistics.median(jobs) / statistics.median(straight)
    return [
        Figure("backfill.throughput_ratio", ratio, "job/vLLM", at_least(0.95), notes),
        Figure("backfill.profiles", statistics.median(jobs), "profiles/s"),
        Figure("backfill.straight_to_vllm", statistics.median(straight), "answers/s"),
    ]


def resume(stack: Stack) -> list[Figure]:
    """Makes outputs of 10,000 and of 1,000,000 users, and runs the finished jobs once more."""
    with ReclmClient(stack.service.url) as http:
        digest = _digest(http.ready().version)
    peaks, again = {}, {}
    for count in (_FEW, _MANY):
        folder = stack.folder / f"backfill-{count}"
        folder.mkdir()
        interactions = folder / "interactions.parquet"
        _write_interactions(interactions, count)
        made = _run_module(
            "tests.benchmarks.instant_backfill",
            *("--interactions", str(interactions), "--out", str(folder / "out")),
            *("--version", digest),
        )
        peaks[count] = made
        again[count] = _finished(stack, interactions, folder / "out", count)
    ratio = peaks[_MANY]["peak_bytes"] / peaks[_FEW]["peak_bytes"]
    rate = _MANY / again[_MANY]["seconds"]
    notes = {
        f"peak MiB at {count:,} users": round(made["peak_bytes"] / 2**20)
        for count, made in peaks.items()
    }
    return [
        Figure("backfill.memory_ratio", ratio, "1,000,000/10,000", at_most(1.3), dict(notes)),
        Figure(
            "backfill.resume_ids_per_second",
            rate,
            "ids/s",
            at_least(20_000),
            {"ids": _MANY, "interactions": _MANY * _CHOICES},
        ),
        Figure(
            "backfill.written_per_second",
            _MANY / peaks[_MANY]["seconds"],
            "profiles/s",
            None,
            {"profiles": "made at once, without a model"},
        ),
    ]


async def _best_level(stack: Stack, bodies: Sequence[bytes]) -> tuple[int, dict[int, float]]:
    """Returns at how many requests at a time vLLM does most, with its rates.

    Each level has the prompts in the prefix cache, as the first round has put them there.
    """
    await _straight(stack, bodies, _LEVELS[-1])
    rates = {}
    for level in _LEVELS:
        rates[level] = len(bodies) / await _straight(stack, bodies, level)
    return max(rates, key=lambda level: rates[level]), rates


async def _straight(stack: Stack, bodies: Sequence[bytes], concurrent: int) -> float:
    """Sends prompts to vLLM, so many at a time; returns the seconds that all of them took."""
    limits = httpx.Limits(max_connections=concurrent, max_keepalive_connections=concurrent)
    left = iter(bodies)
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits) as http:

        async def one_after_another() -> None:
            for body in left:
                answer = await http.post(
                    f"{stack.vllm_url}/v1/chat/completions",
                    content=body,
                    headers={"Content-Type": "application/json"},
                )
                answer.raise_for_status()

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrent):
                group.create_task(one_after_another())
        return time.perf_counter() - started


def _job(stack: Stack, users: Sequence[User], *, name: str) -> float:
    """Has the job profile users whom the service does not know yet; returns its seconds.

    The job's own clock: reading, grouping and writing included, the start of Python left out.
    """
    folder = stack.folder / f"job-{name}"
    folder.mkdir()
    histories = folder / "histories.ndjson"
    histories.write_text(
        "".join(
            json.dumps({"id": f"{user.id} {name}", "history": user.history}) + "\n"
            for user in users
        )
    )
    summary = _backfill(stack, "--histories", str(histories), "--out", str(folder / "out"))
    if summary["outcomes"]["cached"] or summary["rows"] < 0.9 * len(users):
        raise RuntimeError(f"the job did not make what it should: {summary}")
    return float(summary["seconds"]) * len(users) / summary["rows"]


def _finished(stack: Stack, interactions: Path, out: Path, count: int) -> dict[str, Any]:
    summary = _backfill(stack, "--interactions", str(interactions), "--out", str(out))
    if summary["outcomes"]["unchanged"] != count:
        raise RuntimeError(f"the second run was no second run: {summary}")
    return summary


def _backfill(stack: Stack, *arguments: str) -> dict[str, Any]:
    command = ("backfill", "--kind", "user", "--url", stack.service.url, *arguments)
    return _run_module("services.cli", *command)


def _run_module(module: str, *arguments: str) -> dict[str, Any]:
    """Runs a module; returns the JSON on its last line. Rows that failed are no error here."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    if done.returncode not in {0, 3}:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr[-2000:]}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def _write_interactions(path: Path, users: int) -> None:
    """Writes ten random choices of each user, in random order."""
    random = np.random.default_rng(0)
    columns = {"user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.int64()}
    block = 1_000_000
    with pq.ParquetWriter(path, pa.schema(columns)) as writer:
        for start in range(0, users * _CHOICES, block):
            size = min(block, users * _CHOICES - start)
            who = random.permutation(np.arange(start, start + size) // _CHOICES)
            what = random.integers(0, 20_000, size)
            table = pa.table(
                {
                    "user_id": pa.array(np.char.add("user-", who.astype(str))),
                    "item_id": pa.array(np.char.add("item-", what.astype(str))),
                    "timestamp": pa.array(random.integers(1, 10**9, size)),
                }
            )
            writer.write_table(table.cast(pa.schema(columns)))


def _starts(block: int) -> tuple[int, int]:
    return 2 * block * _SET, (2 * block + 1) * _SET


def _digest(version: client.ProfileVersion) -> str:
    parts = [
        part and Component(part.name, part.hash)
        for part in (version.base_model, version.adapter, version.prompt, version.encoder)
    ]
    return ProfileVersion(*parts).digest().hex()  # type: ignore[arg-type]
