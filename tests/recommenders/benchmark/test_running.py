"""A grid on a small dataset: every run once, and failures of a run."""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from recommenders.benchmark import grid
from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.prepared import BenchmarkPaths, prepare
from recommenders.benchmark.run import Run, execute
from recommenders.checkpoints import Checkpoint
from recommenders.data.errors import DatasetError
from tests.recommenders.benchmark.tiny_grid import CHEAP, GRID, experiment, run

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.benchmark.grid import Outcome

pytestmark = pytest.mark.slow


def test_a_grid_is_run_once_and_reported(
    paths: BenchmarkPaths, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = run(paths, tmp_path)
    assert "4 runs to do, 0 done before" in capfd.readouterr().err
    for part in (
        "`the command`",
        "## cold-items",
        "## warm",
        "by hand",
        "| lightgcn base |",
        "data audit`: **not sound; cold-items/validation asks about 31 users; below 50",
        "by ndcg@20 on cold-items's validation",
    ):
        assert part in document
    table = pq.read_table(paths.out / "results.parquet").to_pylist()
    cold = {
        row["label"]: row["value"]
        for row in table
        if (row["scenario"], row["part"], row["metric"], row["seed"])
        == ("cold-items", "test", "ndcg@20", 1)
    }
    assert set(cold) == {"lightgcn base", "lightgcn augmented"}
    assert cold["lightgcn augmented"] > cold["lightgcn base"]
    page = (paths.out / "results.html").read_text()
    assert page.count("<svg") == 6
    assert "<td>lightgcn augmented</td>" in page
    losses = list(paths.out.glob("runs/*/losses.csv"))
    assert len(losses) == 4

    assert run(paths, tmp_path) == document
    assert "0 runs to do, 4 done before" in capfd.readouterr().err
    # Another option makes another run; the other runs are kept.
    run(paths, tmp_path, GRID.replace("augmented, embedding_size: 8", "augmented"), jobs=2)
    assert "2 runs to do, 2 done before" in capfd.readouterr().err


def test_a_failed_run_does_not_affect_the_others(paths: BenchmarkPaths, tmp_path: Path) -> None:
    broken = GRID.replace(
        "  - {name: lightgcn, options: {variant: base, embedding_size: 8}}",
        "  - {name: lightgcn, options: {variant: base}, training: {learning_rate: 1.0e+30}}",
    )
    with pytest.raises(BenchmarkError, match=r"2 of 4 runs failed, the first \(lightgcn base"):
        run(paths, tmp_path, broken)
    assert "lightgcn augmented" in (paths.out / "results.md").read_text()


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (DatasetError("user row 3 has all"), "with: user row 3 has all"),
        (RuntimeError("CUDA out of memory"), "with: RuntimeError: CUDA out of memory"),
        (MemoryError(), "with: MemoryError"),
        (
            np.linalg.LinAlgError("Singular matrix"),
            "with: numpy.linalg.LinAlgError: Singular matrix",
        ),
    ],
)
def test_a_run_may_fail_in_any_library(
    paths: BenchmarkPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    shown: str,
) -> None:
    def fails(run: Run, *arguments: Any, **options: Any) -> None:
        if run.entry.name == "random":
            raise error
        execute(run, *arguments, **options)

    monkeypatch.setattr(grid, "execute", fails)
    with pytest.raises(BenchmarkError, match=f"2 of 4 runs failed, .* {shown}$"):
        run(paths, tmp_path, CHEAP)
    assert "| popularity |" in (paths.out / "results.md").read_text()


EXECUTE = grid._execute


def dies(outcome: Outcome, *arguments: Any) -> Outcome:
    """Runs a run; the process is killed if its model is `random`."""
    if outcome.run.entry.name == "random":
        os._exit(9)
    return EXECUTE(outcome, *arguments)


def test_a_killed_process_does_not_affect_the_other_runs(
    paths: BenchmarkPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "_execute", dies)
    with pytest.raises(BenchmarkError, match=r"2 of 4 runs failed, .* its process was killed"):
        run(paths, tmp_path, CHEAP, jobs=2)
    assert "| popularity |" in (paths.out / "results.md").read_text()


def test_a_grid_is_not_run_by_several_processes_at_once(
    paths: BenchmarkPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BenchmarkError, match="each of which would run all of it; `--jobs`"):
        run(paths, tmp_path)


def test_without_randomness_seeds_share_a_run(
    paths: BenchmarkPaths, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = run(paths, tmp_path, CHEAP, jobs=2)
    assert "3 runs to do, 0 done before" in capfd.readouterr().err
    popular, random = (
        next(line for line in document.splitlines() if line.startswith(f"| {name}"))
        for name in ("popularity", "random")
    )
    assert popular.count("± 0.0000") == 4
    assert random.count("± 0.0000") < 4


def test_a_resumed_run_counts_all_of_its_time(
    paths: BenchmarkPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid_of = experiment(training={"max_steps": 6, "eval_steps": 3})
    ready = prepare(grid_of, 1, paths)
    one = Run(entry=grid_of.models[0], options={}, seed=1)
    (tmp_path / "run").mkdir()
    clock = itertools.count()  # each call is one second later
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))
    write = Checkpoint.write

    def last(checkpoint: Checkpoint, path: Path) -> None:
        write(checkpoint, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", last)
        with pytest.raises(KeyboardInterrupt):
            execute(one, grid_of, ready, tmp_path / "run")
    execute(one, grid_of, ready, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    # One second of training before the first checkpoint, and three after the second start.
    assert result["cpu_seconds"] == 1 + 3
    assert result["steps"] == 6
