"""`reclm-serve models get` and `reclm-serve models list`.

Cheap to import: heavy modules are imported where they are used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from services.assets.errors import AssetError
from services.assets.fetch import get_model, megabytes
from services.assets.manifest import is_complete, read_manifest
from services.common.home import reclm_home
from services.common.manifests import MANIFEST

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands `get` and `list` to the parser of `models`."""
    commands = parser.add_subparsers(dest="models_command", required=True, metavar="COMMAND")
    get = commands.add_parser(
        "get",
        help="fetch a model",
        description="Fetches a model unless it exists, verifies it, and prints its folder.",
    )
    get.add_argument(
        "name",
        metavar="NAME",
        help="a name from `models list`, or ORG/MODEL on the Hugging Face Hub",
    )
    get.add_argument(
        "--revision", help="branch, tag or commit on the Hub (default: the newest commit)"
    )
    get.add_argument("--force", action="store_true", help="fetch the model again and replace it")
    get.add_argument("--verify", action="store_true", help="hash every file again")
    commands.add_parser("list", help="list known and fetched models")


def run(args: argparse.Namespace) -> int:
    """Runs a parsed command. Returns the exit status: 1 after an error, which is printed on stderr."""
    try:
        if args.models_command == "list":
            _list(reclm_home())
        else:
            print(get_model(args.name, revision=args.revision, force=args.force, check=args.verify))
    except AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write to {reclm_home()}: {error}", file=sys.stderr)
        return 1
    return 0


def _list(home: Path) -> None:
    from services.assets.catalogue import KNOWN

    models = home / "models"
    fetched = {
        path.parent.relative_to(models).as_posix(): read_manifest(path.parent)
        for path in sorted(models.rglob(MANIFEST))
        if not any(part.startswith(".") for part in path.relative_to(models).parts)
    }
    for name in sorted({*KNOWN, *fetched}):
        if name in fetched:
            manifest = fetched[name]
            size, licence = megabytes(manifest.size), manifest.origin.licence
            state = "fetched" if is_complete(models / name) else "damaged"
        else:
            size, licence = megabytes(KNOWN[name].download_bytes), KNOWN[name].origin.licence
            state = "to fetch"
        print(f"{name:<40}  {state:<8}  {size:>9}  {licence}")
