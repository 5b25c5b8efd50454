"""Runs benchmarks, prints a table and adds the figures to `build/bench.json`.

Exit status: 0 when every benchmark ran, whether or not its goal was met; 1 when one did not run;
2 when the command line or an earlier `build/bench.json` cannot be understood.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import report
from tests.benchmarks.registry import BENCHMARKS, GROUPS
from tests.benchmarks.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.figures import Figure
    from tests.benchmarks.registry import Benchmark

OUTPUT = Path(__file__).parents[2] / "build" / "bench.json"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="GROUP", choices=GROUPS, help=f"one of: {GROUPS}")
    only = parser.parse_args(argv).only
    try:
        report.read(OUTPUT)
    except report.UnreadableReport as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chosen = [one for one in BENCHMARKS if only is None or only in one.groups]
    command = "make bench" + (f" ONLY={only}" if only else "")
    return run(chosen, command=command, output=OUTPUT)


def run(benchmarks: Sequence[Benchmark], *, command: str, output: Path) -> int:
    """Runs benchmarks on one stack; what one has measured stays when another fails."""
    machine = report.machine()
    print(f"machine: {', '.join(f'{name} {value}' for name, value in machine.items())}")
    figures: list[Figure] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="reclm-bench-") as folder, Stack(Path(folder)) as stack:
        for benchmark in benchmarks:
            print(f"running {benchmark.name} ...", flush=True)
            try:
                found = benchmark.measure(stack)
            except Exception:  # noqa: BLE001 - whatever it is, the others still run
                traceback.print_exc()
                failed = True
                continue
            figures += found
            versions = {**report.versions(), **stack.versions()}
            report.merge(
                output,
                {
                    figure.name: report.entry(
                        figure, command=command, machine=machine, versions=versions
                    )
                    for figure in found
                },
            )
    print(report.table(figures))
    print(f"written to {output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
