"""Two thousand users, ten kills and a lost node: the output of one uninterrupted run."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e.backfill.inputs import USERS, Filled
from tests.e2e.backfill.jobs import COLUMNS, backfill, begun, over, read
from tests.support.servers import metric
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.backfill.jobs import Stack
    from tests.support.ray_cluster import RayCluster

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(1500)]


def test_ten_kills_leave_the_output_of_one_uninterrupted_run(
    stack: Stack, films: Path, filled: Filled, tmp_path: Path
) -> None:
    calls = stack.settled_calls()
    summary = backfill(
        stack, tmp_path / "out", "--interactions", filled.interactions, "--items", films
    )
    killed, uninterrupted = read(filled.out), read(tmp_path / "out")

    assert killed["id"].to_pylist() == sorted(filled.ids)
    assert killed.select(COLUMNS).equals(uninterrupted.select(COLUMNS))
    assert summary["outcomes"]["cached"] == USERS
    assert stack.calls() == calls
    vectors = np.stack(killed["vector"].combine_chunks().to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    assert sorted(path.name for path in filled.out.iterdir() if "part-" not in path.name) == [
        "bad-rows.ndjson",
        "failures.ndjson",
        "manifest.json",
        "refused-items.ndjson",
    ]


def test_what_is_done_is_not_asked_for_again(
    stack: Stack, films: Path, filled: Filled, engine: list[str]
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in filled.out.glob("part-*")}
    requests = metric(stack.service.url, "reclm_http_request_seconds_count", route="/profiles/user")
    arguments = ["--interactions", filled.interactions, "--items", films, *engine]
    summary = backfill(stack, filled.out, *arguments)
    assert (summary["status"], summary["rows"]) == ("complete", USERS)
    assert summary["outcomes"]["unchanged"] == USERS
    after = metric(stack.service.url, "reclm_http_request_seconds_count", route="/profiles/user")
    assert after == requests
    assert {path.name: path.stat().st_mtime_ns for path in filled.out.glob("part-*")} == before


def test_without_the_service_the_output_is_the_same(
    stack: Stack, films: Path, filled: Filled, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = backfill(
        stack, out, "--interactions", filled.interactions, "--items", films, "--direct"
    )
    assert summary["outcomes"]["cached"] == USERS
    assert read(out).select(COLUMNS).equals(read(filled.out).select(COLUMNS))

    stack.forget(filled.ids[-3:])
    calls = stack.settled_calls()
    again = tmp_path / "again"
    summary = backfill(
        stack, again, "--interactions", filled.interactions, "--items", films, "--direct"
    )
    assert summary["outcomes"]["generated"] == 3
    assert stack.calls() == calls


def test_a_cluster_that_loses_a_node_writes_each_row_once(
    stack: Stack, films: Path, filled: Filled, cluster: RayCluster, tmp_path: Path
) -> None:
    gone = random.Random(1).sample(filled.ids, 90)
    stack.forget(gone)
    stack.env.update(cluster.env)
    out = tmp_path / "out"
    arguments = ["--interactions", filled.interactions, "--items", films, *over(cluster)]
    with begun(stack, out, *arguments) as process:
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 20, timeout_s=240)
        cluster.kill_worker()
        stdout, _ = process.communicate(timeout=400)
    cluster.add_worker()

    assert process.returncode == 0
    summary = json.loads(stdout.splitlines()[-1])
    assert (summary["status"], summary["rows"]) == ("complete", USERS)
    arguments = ["--interactions", filled.interactions, "--items", films]
    undisturbed = backfill(stack, tmp_path / "undisturbed", *arguments)
    assert undisturbed["outcomes"]["cached"] == USERS
    assert read(out).select(COLUMNS).equals(read(tmp_path / "undisturbed").select(COLUMNS))
