"""What `reclm-recommend benchmark` does."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from recommenders.benchmark.prepared import Places


def benchmark(file: Path, places: Places, *, jobs: int, command: str) -> str:
    """Runs a grid and writes its results; returns what to print.

    `places.out` gets `results.md`, `results.html` and `results.parquet`, and `runs/`.

    Raises:
        BenchmarkError: The file, the data or the results are not what they should be, or a run
            failed; what the others gave is written all the same.
    """
    import pyarrow.parquet as pq

    from recommenders.benchmark.experiment import read_experiment
    from recommenders.benchmark.grid import run_grid
    from recommenders.benchmark.page import page
    from recommenders.benchmark.results import collect
    from recommenders.benchmark.tables import markdown, parquet

    experiment = read_experiment(file)
    outcomes = run_grid(
        experiment, places, jobs=jobs, tell=lambda line: sys.stderr.write(line + "\n")
    )
    results = collect(experiment, outcomes)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if results:
        document = markdown(experiment, results, command=command, where=_here())
        _write(places.out / "results.md", document)
        _write(places.out / "results.html", page(experiment, results, document=document))
        pq.write_table(parquet(results), places.out / "results.parquet")
    if failed:
        first = failed[0]
        raise BenchmarkError(
            f"{len(failed)} of {len(outcomes)} runs failed, the first ({first.run.entry.shown}, "
            f"seed {first.run.seed}) so: {first.error}"
        )
    return document + f"\nWritten to {places.out}: results.md, results.html, results.parquet"


def _here() -> str:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{day}, {os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, encoding="utf-8"
    ) as scratch:
        scratch.write(text)
    Path(scratch.name).replace(path)
