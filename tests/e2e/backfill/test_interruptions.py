"""Jobs that are stopped: outages, a signal, a full disk, a second job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.e2e.backfill.inputs import ITEMS, choices, write_interactions
from tests.e2e.backfill.jobs import COLUMNS, backfill, begun, command, read
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from tests.e2e.backfill.inputs import Few, Filled
    from tests.e2e.backfill.jobs import Stack

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(1500)]


def test_redis_and_the_model_go_and_come_back_in_the_middle(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    ids = [f"{few.ids[0]} {number:03}" for number in range(60)]
    few.write(choices(ids), ITEMS)
    out = tmp_path / "out"
    with begun(stack, out, *few.arguments(), *engine) as process:
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 3, timeout_s=240)
        stack.redis.process.kill()
        time.sleep(2)
        stack.redis.start()
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 3, timeout_s=240)
        stack.model.set("refuse")
        time.sleep(5)
        stack.model.set("pass")
        stdout, _ = process.communicate(timeout=400)

    assert process.returncode == 0
    summary = json.loads(stdout)
    assert (summary["status"], summary["rows"], summary["outcomes"]["failed"]) == (
        "complete",
        60,
        0,
    )
    assert summary["outcomes"]["pushed_back"] > 0
    assert read(out)["id"].to_pylist() == ids


def test_sigterm_ends_it_in_order_and_the_next_run_goes_on(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    ids = [f"{few.ids[0]} {number:03}" for number in range(60)]
    few.write(choices(ids), ITEMS)
    out = tmp_path / "out"
    # Few at a time, so that some are left.
    with begun(stack, out, *few.arguments(), *engine, "--concurrency", "4") as process:
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 10, timeout_s=240)
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM
    stopped = json.loads(stdout)
    assert stopped["status"] == "stopped"
    made = stopped["outcomes"]["generated"]
    assert 0 < made < 60
    assert json.loads((out / "manifest.json").read_bytes())["complete"] is False

    summary = backfill(stack, out, *few.arguments())
    assert summary["outcomes"]["unchanged"] == made
    assert read(out)["id"].to_pylist() == ids


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk takes the right to mount one: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_ends_it_and_with_room_it_goes_on(
    stack: Stack, filled: Filled, small_disk: Path, dataset: Dataset, engine: list[str]
) -> None:
    interactions = filled.interactions.with_name("first-300.parquet")
    ids = write_interactions(dataset, interactions, 300)
    assert set(ids) <= set(filled.ids)
    out = small_disk / "out"
    arguments = ["--interactions", interactions, *engine]
    done = subprocess.run(
        [*command(out, *arguments), "--url", stack.service.url],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **stack.env},
    )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    for part in out.glob("part-*.parquet"):
        pq.read_table(part)

    remount = ["mount", "-o", "remount,size=16m", str(small_disk)]
    subprocess.run(remount, check=True)
    summary = backfill(stack, out, *arguments)
    assert summary["status"] == "complete"
    undisturbed = filled.interactions.with_name(f"undisturbed-{len(engine)}")
    backfill(stack, undisturbed, "--interactions", interactions)
    assert read(out)["id"].to_pylist() == sorted(ids)
    assert read(out).select(COLUMNS).equals(read(undisturbed).select(COLUMNS))


def test_a_second_job_in_the_folder_is_refused(stack: Stack, few: Few, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few.write(choices([f"{few.ids[0]} {number}" for number in range(40)]), ITEMS)
    with begun(stack, out, *few.arguments()):
        eventually((out / "manifest.json").exists, timeout_s=120)
        second = subprocess.run(
            [*command(out, *few.arguments()), "--url", stack.service.url],
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "another backfill is at work" in second.stderr
