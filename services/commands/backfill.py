"""`reclm-serve backfill`. Heavy imports wait until the command runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.backfill.options import Options

_DESCRIPTION = """\
Makes the profiles of all users or items of an input, through a running service or with its parts,
and writes them with their vectors as Parquet. Start the same command again after whatever ended
it: what is done is passed over, what has changed is made anew.
"""
_EPILOG = """\
exit status: 0 every profile is there; 3 some rows failed, see failures.ndjson, bad-rows.ndjson and
refused-items.ndjson; 1 the job gave up, and says why; 2 wrong usage, or wrong settings with
--direct; 128 + n stopped by signal n. A summary in JSON goes to standard output, progress to
standard error.
"""
PARTIAL = 3


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the command to the parser of `reclm-serve`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "backfill",
        help="make the profiles of everyone, resumable, into Parquet",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("--kind", choices=["user", "item"], required=True)
    source = parser.add_argument_group("input: .parquet, .csv, .tsv or .ndjson, a file or a folder")
    source.add_argument(
        "--interactions", type=Path, metavar="PATH", help="columns user_id, item_id, [timestamp]"
    )
    source.add_argument(
        "--histories",
        type=Path,
        metavar="PATH",
        help="instead: NDJSON with id and history, as in failures.ndjson",
    )
    source.add_argument(
        "--items",
        type=Path,
        metavar="PATH",
        help="columns item_id, title, [category, description]: put into the catalogue first",
    )
    source.add_argument(
        "--min-weight", type=float, metavar="W", help="leave out interactions with less weight"
    )
    source.add_argument(
        "--history",
        type=_positive,
        default=50,
        metavar="N",
        help="newest entries of a history that are sent (%(default)s)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, required=True, metavar="DIR")
    output.add_argument(
        "--dtype", choices=["float16", "float32"], default="float16", help="(%(default)s)"
    )
    output.add_argument(
        "--partitions", type=_positive, metavar="N", help="files of the output (by size)"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--url",
        default=os.environ.get("RECLM_URL", "http://127.0.0.1:8080"),
        help="of the service (RECLM_URL, else where `reclm-serve up` has it: %(default)s)",
    )
    how.add_argument(
        "--direct",
        action="store_true",
        help="no service: the model server and Redis of the RECLM_* variables, from this process",
    )
    how.add_argument("--engine", choices=["local", "ray"], default="local", help="(%(default)s)")
    how.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a cluster; a local one is started without it"
    )
    how.add_argument(
        "--refresh", action="store_true", help="make anew what is in the cache from before the job"
    )
    how.add_argument(
        "--unknown-items",
        choices=["fail", "drop"],
        default="fail",
        help="of a history: fail the row, or go on without them (%(default)s)",
    )
    how.add_argument(
        "--with-erased",
        action="store_true",
        help="make profiles of users whom the service has erased too: the input is of after that",
    )
    how.add_argument(
        "--concurrency",
        type=_positive,
        default=256,
        metavar="N",
        help="requests at a time, at most: the job finds out how many are good (%(default)s)",
    )
    how.add_argument(
        "--patience",
        type=float,
        default=300.0,
        metavar="S",
        help="seconds without a success after which to give up (%(default)g)",
    )
    how.add_argument(
        "--failures-in-a-row",
        type=_positive,
        default=100,
        metavar="N",
        help="rows after which to give up (%(default)s)",
    )
    how.add_argument("--push-gateway", metavar="URL", help="of Prometheus, to push the progress to")
    how.add_argument("--dry-run", action="store_true", help="count and estimate; write no output")
    how.add_argument(
        "--sample",
        type=_natural,
        default=16,
        metavar="N",
        help="with --dry-run: rows to ask for, to estimate tokens and time (%(default)s)",
    )


def keep_memory_flat() -> None:
    """Has Arrow, if it is not imported yet, take memory from the system's allocator.

    Its own one keeps much of what is freed: over a million rows, 60 MiB more than are ever in use.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def _run(args: argparse.Namespace) -> int:
    keep_memory_flat()
    from services.backfill.errors import BackfillError, Misconfigured

    try:
        options = _options(args)
        return _dry_run(args, options) if args.dry_run else _backfill(args, options)
    except Misconfigured as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except BackfillError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _options(args: argparse.Namespace) -> Options:
    from services.backfill.inputs.readers import Inputs
    from services.backfill.options import Options

    return Options(
        inputs=Inputs(
            kind=args.kind,
            interactions=args.interactions,
            histories=args.histories,
            items=args.items,
            min_weight=args.min_weight,
        ),
        out=args.out,
        url=None if args.direct else args.url,
        history=args.history,
        dtype=args.dtype,
        refresh=args.refresh,
        unknown_items=args.unknown_items,
        concurrency=args.concurrency,
        patience_s=args.patience,
        failures_in_a_row=args.failures_in_a_row,
        with_erased=args.with_erased,
        partitions=args.partitions,
    )


def _backfill(args: argparse.Namespace, options: Options) -> int:
    from services.backfill.push import Push
    from services.backfill.run import Ray, run

    summary = run(
        options,
        ray=Ray(address=args.ray_address) if args.engine == "ray" else None,
        push=Push(args.push_gateway, args.kind) if args.push_gateway else None,
    )
    print(summary.to_json())
    if summary.error is not None:
        print(f"error: {summary.error}", file=sys.stderr)
        return 1
    if summary.signal is not None:
        return 128 + summary.signal
    return 0 if summary.status == "complete" else PARTIAL


def _dry_run(args: argparse.Namespace, options: Options) -> int:
    from services.backfill.run import dry_run

    print(dry_run(options, sample=args.sample).text())
    return 0


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is not above 0")
    return number


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
