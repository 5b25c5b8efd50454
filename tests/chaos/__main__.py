"""Runs the fault lab, prints a table and writes `build/chaos.json`.

Exit status: 0 when every invariant held; 1 when one did not, with the story of each user concerned
in `build/chaos`, or when the lab itself failed; 2 when the command line cannot be understood.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos import report
from tests.chaos.faults import FAULTS
from tests.chaos.run import Options, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILD = Path(__file__).parents[2] / "build"
OUTPUT = BUILD / "chaos.json"
STORIES = BUILD / "chaos"
_LONGEST = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(argv)
    for name in given.faults or ():
        if FAULTS[name].redis not in {None, given.redis}:
            parser.error(f"{name} is not for --redis {given.redis}")
    arguments = sys.argv[1:] if argv is None else list(argv)
    shutil.rmtree(STORIES, ignore_errors=True)
    minutes = given.minutes if given.hours is None else 60 * given.hours
    options = Options(
        seconds=60 * minutes,
        seed=given.seed,
        model=given.model,
        redis=given.redis,
        fsync=given.fsync,
        faults=tuple(given.faults or ()),
        command=" ".join(["python -m tests.chaos", *arguments]),
        stories=STORIES,
        recovery_s=given.recovery_s,
    )
    print(f"fault lab: {minutes:g} minutes, model {given.model}, seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="reclm-chaos-") as folder:
        run = Run(options, Path(folder))
        try:
            result = asyncio.run(run.go())
        except BaseException:
            _keep_logs(Path(folder))
            raise
        if result.violations:
            _keep_logs(Path(folder))
    report.write(OUTPUT, result)
    print(report.table(result))
    print(f"written to {OUTPUT.relative_to(BUILD.parent)}")
    if result.violations:
        print(f"violated, with stories and logs in {STORIES.relative_to(BUILD.parent)}:")
        print(report.summary(result.violations))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=_length, default=5.0, help="how long (default: 5)")
    length.add_argument("--hours", type=_length, help="how long, for a soak")
    parser.add_argument("--seed", type=int, default=1, help="of load and faults (default: 1)")
    parser.add_argument("--model", choices=("vllm", "scripted"), default="vllm")
    parser.add_argument(
        "--redis",
        choices=("one", "sentinel"),
        default="one",
        help="one server, or a master with replicas and Sentinels (default: one)",
    )
    parser.add_argument(
        "--fsync",
        choices=("always", "everysec"),
        default="always",
        help="when Redis syncs its append-only file (default: always)",
    )
    parser.add_argument(
        "--recovery-s",
        type=_length,
        default=10.0,
        help="the longest time to recover, in seconds, that is no violation (default: 10)",
    )
    parser.add_argument(
        "--faults", nargs="+", choices=sorted(FAULTS), help="cause these alone", metavar="FAULT"
    )
    return parser


def _length(text: str) -> float:
    try:
        length = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not 0 < length <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {_LONGEST}")
    return length


def _keep_logs(folder: Path) -> None:
    """Copies the servers' logs beside the stories."""
    STORIES.mkdir(parents=True, exist_ok=True)
    for log in folder.rglob("*.log"):
        shutil.copy(log, STORIES / log.name)


if __name__ == "__main__":
    sys.exit(main())
