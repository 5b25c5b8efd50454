"""The command `reclm-recommend`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.data import commands
from recommenders.data.errors import DatasetError
from services.assets.errors import AssetError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0, or 1 after an error, which is told on stderr. Wrong usage exits with 2.
    """
    args = _parser().parse_args(argv)
    try:
        print(args.run(args))
    except (DatasetError, AssetError, OSError) as error:
        print(f"reclm-recommend: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reclm-recommend", description="Recommenders that use profiles as features."
    )
    rooms = parser.add_subparsers(metavar="command", required=True)
    data = rooms.add_parser("data", help="get and inspect datasets", description="Datasets.")
    actions = data.add_subparsers(metavar="action", required=True)

    get = actions.add_parser("get", help="fetch a dataset and make its folder")
    get.add_argument("name", choices=["ml-100k"], help="which dataset")
    get.add_argument("--out", type=Path, metavar="DIR", help="its folder (default: in RECLM_HOME)")
    get.add_argument("--force", action="store_true", help="fetch anew what is there already")
    get.set_defaults(run=lambda args: commands.get_ml_100k(args.out, force=args.force))

    show = actions.add_parser("show", help="check a dataset folder and say what is in it")
    show.add_argument("folder", type=Path, metavar="DIR")
    show.set_defaults(run=lambda args: commands.show(args.folder))
    return parser


if __name__ == "__main__":
    sys.exit(main())
