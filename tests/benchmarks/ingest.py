"""Reading interactions: ours against DuckDB and pyarrow.dataset, over one file of millions of rows.

Every way runs in a process of its own, in turns, over the same generated Parquet and CSV files. A way
whose library is not installed is left out, and that is printed: DuckDB is no dependency.
`RECLM_BENCH_INGEST_ROWS` sets the size (2 million; the decision on tabular data was made with 20
million), `RECLM_BENCH_INGEST_TURNS` the turns (2), `RECLM_BENCH_DUCKDB_MEMORY` what DuckDB may use for
a backfill (1GB).
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from tests.benchmarks.figures import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.stack import Stack

_ROWS = 2_000_000
_TURNS = 2
_BLOCK = 1_000_000
_ITEMS = 200_000
_MODULES = {"ours": "pyarrow", "duckdb": "duckdb", "arrow": "pyarrow"}
_COLUMNS = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "timestamp": pa.int64(),
    "weight": pa.float64(),
}


def measure(stack: Stack) -> list[Figure]:
    folder = stack.folder / "ingest"
    folder.mkdir()
    return measured(folder)


def measured(folder: Path) -> list[Figure]:
    """Returns the figures of every way, job and format; the files are written into the folder."""
    rows = int(os.environ.get("RECLM_BENCH_INGEST_ROWS", _ROWS))
    turns = int(os.environ.get("RECLM_BENCH_INGEST_TURNS", _TURNS))
    files = write_files(folder, rows)
    ways = [way for way, module in _MODULES.items() if importlib.util.find_spec(module)]
    for way in _MODULES.keys() - set(ways):
        print(f"left out: {way}, which is not installed")
    figures: list[Figure] = []
    for job in ("backfill", "import"):
        for kind, path in files.items():
            found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
            for turn in range(turns):
                for way in ways[:: 1 if turn % 2 == 0 else -1]:
                    found[way].append(_run(way, job, path))
                    print(way, job, kind, found[way][-1], flush=True)
            _check_equal(found)
            for way, results in found.items():
                figures += _figures(f"{job}.{kind}.{way}", results, rows)
    return figures


def write_files(folder: Path, rows: int) -> dict[str, Path]:
    """Writes one table as Parquet and as CSV: a twentieth as many users, some far more active."""
    random = np.random.default_rng(0)
    schema = pa.schema(_COLUMNS)
    files = {"parquet": folder / "interactions.parquet", "csv": folder / "interactions.csv"}
    with (
        pq.ParquetWriter(files["parquet"], schema) as parquet,
        pcsv.CSVWriter(
            files["csv"], schema, write_options=pcsv.WriteOptions(quoting_style="none")
        ) as csv,
    ):
        for start in range(0, rows, _BLOCK):
            size = min(_BLOCK, rows - start)
            users = (random.random(size) ** 2 * (rows // 20)).astype(np.int64)
            items = random.integers(0, _ITEMS, size)
            table = pa.table(
                [
                    np.char.add("user-", users.astype(str)),
                    np.char.add("item-", items.astype(str)),
                    random.integers(1_500_000_000, 1_700_000_000, size),
                    random.integers(1, 6, size).astype(np.float64),
                ],
                names=list(_COLUMNS),
            ).cast(schema)
            parquet.write_table(table)
            csv.write_table(table)
    return files


def _run(way: str, job: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.ingest_side", way, job, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{way} {job} of {path.name} failed: {done.stderr[-2000:]}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def _check_equal(found: dict[str, list[dict[str, Any]]]) -> None:
    results = {(run["rows"], run["checksum"]) for runs in found.values() for run in runs}
    if len(results) != 1:
        raise RuntimeError(f"the ways disagree on the result: {found}")


def _figures(name: str, runs: list[dict[str, Any]], rows: int) -> list[Figure]:
    seconds = [run["seconds"] for run in runs]
    notes: dict[str, object] = {
        "seconds": ", ".join(f"{value:.1f}" for value in seconds),
        "rows of the file": rows,
    }
    peak = max(run["peak_bytes"] for run in runs) / 2**20
    return [
        Figure(f"ingest.{name}.seconds", statistics.median(seconds), "s", None, notes),
        Figure(f"ingest.{name}.peak", peak, "MiB"),
    ]
