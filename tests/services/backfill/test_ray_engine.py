from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from services.backfill import ray_engine
from services.backfill.errors import BackfillError
from tests.support.processes import free_port, runs
from tests.support.ray_cluster import RayCluster, ray_cluster
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.stack

_DRIVER = [sys.executable, "-m", "tests.services.backfill.ray_driver"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(workers=2) as cluster:
        yield cluster


class Driver:
    """The engine at work in another process."""

    def __init__(self, folder: Path, *options: str, env: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir()
        self.errors = folder.with_name("errors.txt")
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*_DRIVER, str(folder), *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **env},
            )

    def started(self, partition: int) -> list[tuple[str, int]]:
        """Node and process of every start of a partition, in order."""
        markers = sorted(
            self.folder.glob(f"started.{partition}.*"), key=lambda path: path.stat().st_mtime_ns
        )
        return [(marker.suffixes[-2][1:], int(marker.suffix[1:])) for marker in markers]

    def done(self) -> list[int]:
        return sorted(int(path.suffix[1:]) for path in self.folder.glob("done.*"))

    def results(self) -> list[dict[str, Any]]:
        """What it printed, at its end."""
        try:
            output, _ = self.process.communicate(timeout=400)
        finally:
            self.process.kill()
        assert output, self.errors.read_text()
        return [json.loads(line) for line in output.splitlines()]


def test_partitions_of_a_lost_node_run_again_on_another(
    cluster: RayCluster, tmp_path: Path
) -> None:
    driver = Driver(tmp_path / "out", "--address", cluster.address, "--hang", "0", env=cluster.env)

    eventually(lambda: driver.started(0) and len(driver.done()) >= 2, timeout_s=240)
    lost = cluster.kill_worker(driver.started(0)[0][0])
    results = driver.results()
    cluster.add_worker()

    assert sorted(result["partition"] for result in results) == list(range(6))
    assert driver.done() == list(range(6))
    first, *others = [node for node, _ in driver.started(0)]
    assert first == lost
    assert others
    assert lost not in others
    by_partition = {result["partition"]: result for result in results}
    assert by_partition[0]["node"] in cluster.workers
    assert "will be retried" in driver.errors.read_text()
    assert driver.process.returncode == 0


def test_an_error_names_its_partition_and_ends_the_run(cluster: RayCluster, tmp_path: Path) -> None:
    driver = Driver(
        tmp_path / "out",
        *("--address", cluster.address, "--fail", "1", "--hang", "0", "--hang-again"),
        env=cluster.env,
    )

    *_, last = driver.results()

    assert last["error"] == "partition 1: ValueError: no luck with 1"
    assert "in work" in last["notes"][0]
    assert len(driver.started(1)) == 1
    assert driver.process.returncode == 1


def test_closing_early_cancels_what_runs_and_leaves_the_cluster(
    cluster: RayCluster, tmp_path: Path
) -> None:
    driver = Driver(
        tmp_path / "out",
        *("--address", cluster.address, "--take", "2", "--hang", "0", "--hang-again"),
        env=cluster.env,
    )

    assert len(driver.results()) == 2

    eventually(lambda: not any(runs(process) for _, process in driver.started(0)))
    assert cluster.up
    again = Driver(tmp_path / "again", "--address", cluster.address, env=cluster.env)
    assert len(again.results()) == 6


def test_a_cluster_of_its_own_ends_with_the_run(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        env = {"RAY_TMPDIR": folder, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        driver = Driver(tmp_path / "out", "--concurrency", "2", env=env)
        results = driver.results()

    assert Counter(result["partition"] for result in results) == Counter(range(6))
    assert {repr(result["odd"]) for result in results} == {"None", "{}"}
    assert driver.errors.read_text() == ""
    workers = {process for partition in range(6) for _, process in driver.started(partition)}
    assert workers
    # Ray does not wait for them: they end when they see that their node has.
    eventually(lambda: not any(map(runs, workers)), timeout_s=240)


def test_says_that_there_is_no_cluster() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BackfillError, match=f"no Ray cluster at {address}"):
        list(ray_engine.run([0], _never, address=address))
    with pytest.raises(BackfillError, match="host:port instead"):
        list(ray_engine.run([0], _never, address=f"ray://{address}"))


def test_says_how_to_install_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackfillError, match=r"pip install .*\[ray\]"):
        list(ray_engine.run([0], _never))


def test_nothing_to_do_needs_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(ray_engine.run([], _never)) == []


def _never(partition: int) -> dict[str, Any]:
    raise AssertionError(partition)
