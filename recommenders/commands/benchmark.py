"""`reclm-recommend benchmark` and `report`. Heavy imports wait until the command runs."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.benchmark.errors import BenchmarkError
from recommenders.commands.arguments import add_device, add_paths, paths_of
from services.common.files import write_text

if TYPE_CHECKING:
    import argparse

    from recommenders.benchmark.prepared import BenchmarkPaths

_DESCRIPTION = """\
Trains and evaluates every model of a grid with every seed, and writes tables, an HTML page with
plots and all results as Parquet. Finished runs are skipped; the same command resumes.
"""

_REPORT = """\
Inserts the tables of results folders into a document, each between the lines
`<!-- results NAME -->` and `<!-- end NAME -->`, where NAME is the folder's name.
"""


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the commands to the parser of `reclm-recommend`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "benchmark", help="measure the gain from profiles", description=_DESCRIPTION
    )
    parser.set_defaults(run=_run)
    parser.add_argument("file", type=Path, metavar="FILE", help="the grid, in YAML")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    add_paths(parser)
    add_device(parser)
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time (%(default)s)"
    )

    report: argparse.ArgumentParser = commands.add_parser(
        "report", help="insert results into a document", description=_REPORT
    )
    report.set_defaults(run=_report)
    report.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="results of a grid")
    report.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the document, in Markdown"
    )


def _run(args: argparse.Namespace) -> str:
    paths = paths_of(args, out=args.out)
    command = f"reclm-recommend benchmark {args.file} --out {args.out.name}"
    if args.device != "cpu":
        command += f" --device {args.device}"
    jobs = max(1, args.jobs)
    return benchmark(args.file, paths, jobs=jobs, device=args.device, command=command)


def _report(args: argparse.Namespace) -> str:
    from recommenders.benchmark.report import with_results

    try:
        document = args.out.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BenchmarkError(
            f"{args.out} is missing; results are inserted into an existing document"
        ) from error
    write_text(args.out, with_results(document, args.folders))
    return f"{len(args.folders)} results were inserted into {args.out}"


def benchmark(
    file: Path, paths: BenchmarkPaths, *, jobs: int, command: str, device: str = "cpu"
) -> str:
    """Runs a grid and writes its results; returns what to print.

    Writes `results.md`, `results.html`, `results.parquet` and `runs/` to `paths.out`.

    Raises:
        BenchmarkError: The file, the data or a result is invalid, or a run failed; the results of
            the other runs are written in any case.
    """
    from recommenders.benchmark.experiment import read_experiment
    from recommenders.benchmark.grid import run_grid
    from recommenders.benchmark.page import page
    from recommenders.benchmark.results import collect
    from recommenders.benchmark.run import write_table
    from recommenders.benchmark.tables import markdown, parquet
    from recommenders.data.audit import run_audit

    experiment = read_experiment(file)
    outcomes = run_grid(
        experiment,
        paths,
        jobs=jobs,
        device=device,
        progress=lambda line: sys.stderr.write(line + "\n"),
    )
    results = collect(experiment, outcomes)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if results:
        audit = run_audit(
            paths.datasets / experiment.dataset, split=experiment.plan(experiment.seeds[0])
        )
        document = markdown(experiment, results, audit, command=command, where=here(device))
        write_text(paths.out / "results.md", document)
        write_text(paths.out / "results.html", page(experiment, results, document=document))
        write_table(parquet(results), paths.out / "results.parquet")
    if failed:
        first = failed[0]
        raise BenchmarkError(
            f"{len(failed)} of {len(outcomes)} runs failed, the first ({first.run.entry.shown}, "
            f"seed {first.run.seed}) with: {first.error}"
        )
    return document + f"\nWritten to {paths.out}: results.md, results.html, results.parquet"


def here(device: str = "cpu") -> str:
    """Returns the date and the machine for the head of a report."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    parts = [day, f"{os.cpu_count()} cores, {_processor()}"]
    if device != "cpu":
        import torch

        parts.append(torch.cuda.get_device_name(device))
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
