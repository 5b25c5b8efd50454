"""The command and what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores.redis import keys
from tests.support.servers import metric
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.proxy import Proxy
    from tests.support.ray_cluster import RayCluster
    from tests.support.servers import RedisServer, Service

HISTORY = 5
COLUMNS = ["id", "text", "vector", "version", "input_hash", "created_at"]
"""What is the same however often a job was interrupted: all but how an answer was come by."""


@dataclass
class Stack:
    """Redis that survives its death, and the service, which reaches the model through a proxy."""

    redis: RedisServer
    model: Proxy
    service: Service
    env: dict[str, str]

    def calls(self) -> int:
        """Returns how often the service has had an answer from the model."""
        return metric(self.service.url, "reclm_model_seconds_count")

    def settled_calls(self) -> int:
        """Returns `calls` when the model has nothing left to do for a job that is gone."""

        def settled() -> bool:
            before = self.calls()
            time.sleep(1)
            url = f"http://127.0.0.1:{self.model.port}"
            left = [metric(url, f"vllm:num_requests_{state}") for state in ("running", "waiting")]
            return left == [0, 0] and self.calls() == before

        eventually(settled, timeout_s=240)
        return self.calls()

    def forget(self, ids: list[str], kind: Any = "user") -> None:
        names = [keys.profile(ProfileKey("default", kind, id_)) for id_ in ids]
        self.redis.client().delete(*names)


def over(cluster: RayCluster) -> list[str]:
    return ["--engine", "ray", "--ray-address", cluster.address]


def command(out: Path, *arguments: str | Path, kind: str = "user") -> list[str]:
    start = [sys.executable, "-m", "services.cli", "backfill", "--kind", kind, "--out", str(out)]
    return [*start, "--history", str(HISTORY), *map(str, arguments)]


def backfill(
    stack: Stack, out: Path, *arguments: str | Path, kind: str = "user", status: int = 0
) -> dict[str, Any]:
    """Runs a job to its end; returns its summary."""
    done = subprocess.run(
        [*command(out, *arguments, kind=kind), *reach(stack, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **stack.env},
    )
    assert done.returncode == status, f"{done.returncode}: {done.stderr[-3000:]}"
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return summary


def reach(stack: Stack, arguments: tuple[str | Path, ...]) -> list[str]:
    return [] if "--direct" in arguments else ["--url", stack.service.url]


@contextmanager
def begun(stack: Stack, out: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A job under way, in a process group of its own; killed with it at the end."""
    with subprocess.Popen(
        [*command(out, *arguments), *reach(stack, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **stack.env},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def read(out: Path) -> pa.Table:
    """Returns the output as its manifest lists it, in order of id; every id is there once."""
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert manifest["complete"] is True
    tables = [pq.read_table(out / part["file"]) for part in manifest["parts"]]
    table = pa.concat_tables(tables).sort_by("id")
    ids = table["id"].to_pylist()
    assert len(ids) == len(set(ids)) == manifest["rows"]
    listed = {part["file"] for part in manifest["parts"]}
    assert {path.name for path in out.glob("part-*")} == listed
    return table


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
