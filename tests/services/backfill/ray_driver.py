"""Runs the engine in a process of its own, as the command does: Ray alters the one it is used in.

Results go to standard output, one a line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.backfill import ray_engine
from services.backfill.errors import BackfillError

if TYPE_CHECKING:
    from collections.abc import Generator

_FOR_EVER_S = 600.0


def work(
    partition: int, *, folder: Path, fail: int | None, hang: int | None, hang_again: bool
) -> dict[str, object]:
    before = list(folder.glob(f"started.{partition}.*"))
    node = os.environ.get("RAY_NODE", "local")
    (folder / f"started.{partition}.{node}.{os.getpid()}").touch()
    if partition == fail:
        raise ValueError(f"no luck with {partition}")
    time.sleep(_FOR_EVER_S if partition == hang and (hang_again or not before) else 0.2)
    temporary = folder / f".{partition}.{os.getpid()}"
    temporary.write_text(str(partition))
    temporary.replace(folder / f"done.{partition}")
    # Shapes that differ from row to row, as Arrow would not have them.
    return {"partition": partition, "odd": None if partition % 2 else {}, "node": node}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--fail", type=int, help="partition that raises")
    parser.add_argument("--hang", type=int, help="partition that takes for ever, once")
    parser.add_argument("--hang-again", action="store_true")
    parser.add_argument("--take", type=int, help="results after which to stop")
    args = parser.parse_args()
    job = partial(
        work, folder=args.folder, fail=args.fail, hang=args.hang, hang_again=args.hang_again
    )
    results = ray_engine.run(
        range(args.partitions), job, address=args.address, concurrency=args.concurrency
    )
    # Not in the main thread, which the command keeps for signals.
    return asyncio.run(asyncio.to_thread(_print, results, args.take))


def _print(results: Generator[dict[str, Any]], take: int | None) -> int:
    output = sys.stdout
    with contextlib.closing(results):
        try:
            for count, result in enumerate(results, start=1):
                print(json.dumps(result), file=output)
                if count == take:
                    break
        except BackfillError as error:
            print(
                json.dumps({"error": str(error), "notes": getattr(error, "__notes__", [])}),
                file=output,
            )
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
