"""`reclm-serve erase`. Heavy imports wait until the command runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.erasure.run import Erasure

_DESCRIPTION = """\
Erases users and items at a running service, and rewrites folders that RecLM wrote without them:
outputs of backfills, snapshots, scorer bundles, datasets, training data and results. The same command again
changes nothing more.
"""
_EPILOG = """\
exit status: 0 everything is erased; 1 something is not, and the message says what; 2 wrong usage. A
receipt in JSON goes to standard output, progress to standard error.
"""


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the command to the parser of `reclm-serve`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "erase",
        help="erase users and items from the service and from folders",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)
    whom = parser.add_argument_group("whom")
    whom.add_argument("--user", action="append", default=[], metavar="ID", help="may be repeated")
    whom.add_argument("--item", action="append", default=[], metavar="ID", help="may be repeated")
    whom.add_argument(
        "--users-file",
        type=Path,
        metavar="FILE",
        help="ids of users, one a line, or JSON lines with a member id",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--from",
        dest="folders",
        action="extend",
        nargs="+",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="folders to rewrite, or a folder that holds nothing but such folders",
    )
    where.add_argument(
        "--url",
        default=os.environ.get("RECLM_URL", "http://127.0.0.1:8080"),
        help="of the service (RECLM_URL, else where `reclm-serve up` has it: %(default)s)",
    )
    where.add_argument(
        "--folders-only", action="store_true", help="no service: only rewrite folders"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--dry-run", action="store_true", help="count, and erase nothing")
    how.add_argument("--receipt", type=Path, metavar="FILE", help="also write the receipt here")


def _run(args: argparse.Namespace) -> int:
    from services.common.files import write_json
    from services.erasure.errors import ErasureError
    from services.erasure.run import erase

    try:
        receipt = erase(_erasure(args), progress=lambda line: print(line, file=sys.stderr))
    except _Misused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ErasureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    document = receipt.document()
    print(json.dumps(document, indent=2))
    for failure in receipt.failures:
        print(f"error: {failure}", file=sys.stderr)
    if args.receipt is not None:
        try:
            write_json(args.receipt, document)
        except OSError as error:
            print(f"error: {args.receipt} cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    return 1 if receipt.failures else 0


def _erasure(args: argparse.Namespace) -> Erasure:
    from services.erasure.errors import ErasureError
    from services.erasure.run import Erasure
    from services.erasure.targets import Targets, read_ids

    if args.folders_only and not args.folders:
        raise _Misused("--folders-only needs --from")
    if args.receipt is not None and args.receipt.exists():
        raise _Misused(f"{args.receipt} is there already; a receipt is not written over another")
    try:
        users = [*args.user, *(read_ids(args.users_file) if args.users_file else ())]
        targets = Targets.of(users, args.item)
    except ErasureError as error:
        raise _Misused(str(error)) from error
    return Erasure(
        targets=targets,
        folders=args.folders,
        url=None if args.folders_only else args.url,
        dry_run=args.dry_run,
    )


class _Misused(Exception):
    """The arguments do not say what to do."""
