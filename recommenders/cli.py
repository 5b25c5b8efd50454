"""The command line `reclm-recommend`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.benchmark.errors import BenchmarkError
from recommenders.commands import benchmark, export, features, study
from recommenders.commands import data as datasets
from recommenders.data.errors import DatasetError
from recommenders.data.sources import PROFILES, SOURCES
from recommenders.export.errors import ExportError
from recommenders.models.errors import ModelError
from services.assets.errors import AssetError
from services.profiles.errors import ReclmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no other name

NOT_SOUND = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0, 1 after an error, which is printed on stderr, 3 if an audit finds that a
        dataset is not sound, or 130 after an interrupt. Wrong usage exits with 2.
    """
    args = _parser().parse_args(argv)
    try:
        if output := args.run(args):
            print(output)
    except datasets.NotSound as answer:
        print(answer)
        return NOT_SOUND
    except (
        DatasetError,
        BenchmarkError,
        ExportError,
        ModelError,
        AssetError,
        ReclmError,
        OSError,
    ) as error:
        print(f"reclm-recommend: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("reclm-recommend: interrupted; the same command resumes", file=sys.stderr)
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        print(f"reclm-recommend: {error.name} is not installed: `make recommend`", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reclm-recommend", description="Recommenders that use profiles as features."
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    data = commands.add_parser("data", help="get and inspect datasets", description="Datasets.")
    actions = data.add_subparsers(metavar="action", required=True)

    get = actions.add_parser("get", help="fetch a dataset and write its folder")
    get.add_argument("name", choices=["ml-100k"], help="name of the dataset")
    get.add_argument(
        "--out", type=Path, metavar="DIR", help="its folder (default: data/NAME in RECLM_HOME)"
    )
    get.add_argument(
        "--force", action="store_true", help="fetch a dataset that exists already again"
    )
    get.set_defaults(run=lambda args: datasets.get_ml_100k(args.out, force=args.force))

    _add_import(actions)

    show = actions.add_parser("show", help="validate a dataset folder and describe it")
    show.add_argument("folder", type=Path, metavar="DIR")
    show.set_defaults(run=lambda args: datasets.show(args.folder))

    _add_core(actions)
    _add_audit(actions)
    features.add_command(commands)
    benchmark.add_commands(commands)
    export.add_commands(commands)
    study.add_command(commands)
    return parser


def _add_core(actions: Actions) -> None:
    core = actions.add_parser(
        "core",
        help="make the k-core of a dataset",
        description="Removes users and items with too few interactions, until all have enough "
        "(the k-core), and writes the rest as a dataset.",
    )
    core.add_argument("folder", type=Path, metavar="DIR")
    core.add_argument(
        "--users",
        type=int,
        default=5,
        metavar="N",
        help="minimum number of interactions of a user (5)",
    )
    core.add_argument(
        "--items",
        type=int,
        default=5,
        metavar="N",
        help="minimum number of interactions of an item (5)",
    )
    core.add_argument("--out", type=Path, required=True, metavar="DIR")
    core.add_argument("--force", action="store_true", help="replace an existing dataset")
    core.set_defaults(
        run=lambda args: datasets.keep_core(
            args.folder, args.out, users=args.users, items=args.items, force=args.force
        )
    )


def _add_audit(actions: Actions) -> None:
    audit = actions.add_parser(
        "audit",
        help="check whether results on a dataset can be trusted; exits with 3 if not",
        description="Checks a dataset for errors that make results worthless: texts that do not belong "
        "to the items, repetitions, and relevant items in the training data (docs/reference/audit.md).",
    )
    audit.add_argument("folder", type=Path, metavar="DIR")
    audit.add_argument(
        "--split",
        metavar="KIND[,OPTION=VALUE...]",
        help="the split to check for leaks, such as random,seed=1 (default: the published one)",
    )
    audit.add_argument(
        "--profiles", type=Path, metavar="FILE", help="profiles of users, as JSON lines"
    )
    audit.add_argument(
        "--item-profiles", type=Path, metavar="FILE", help="profiles of items, as JSON lines"
    )
    audit.add_argument("--json", action="store_true", help="print JSON")
    audit.set_defaults(run=datasets.audit)


def _add_import(actions: Actions) -> None:
    imports = actions.add_parser(
        "import",
        help="make a dataset's folder from published files",
        description="Makes a dataset's folder; docs/reference/datasets.md says where to get the files.",
    )
    sources = imports.add_subparsers(metavar="source", required=True)
    for name, source in SOURCES.items():
        parser = sources.add_parser(name, help=source.summary, description=f"{source.summary}.")
        parser.add_argument("path", type=Path, metavar="PATH", help=source.path)
        parser.add_argument(
            "--out",
            type=Path,
            metavar="DIR",
            help=f"its folder (default: data/{name} in RECLM_HOME)",
        )
        parser.add_argument("--force", action="store_true", help="replace an existing dataset")
        parser.set_defaults(
            run=lambda args, name=name: datasets.import_source(
                name, args.path, args.out, force=args.force
            )
        )
    _add_generic(sources)
    for name, published in PROFILES.items():
        profiles = sources.add_parser(
            name, help=published.summary, description=f"{published.summary}."
        )
        profiles.add_argument("path", type=Path, metavar="PATH", help=published.path)
        profiles.add_argument(
            "--out", type=Path, metavar="FILE", required=True, help="file to write"
        )
        profiles.set_defaults(
            run=lambda args, name=name: datasets.import_profiles(name, args.path, args.out)
        )


def _add_generic(sources: Actions) -> None:
    summary = "your own interactions and items, as Parquet, CSV, TSV or NDJSON"
    parser = sources.add_parser("table", help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument("path", type=Path, metavar="PATH", help="the interactions")
    parser.add_argument("--items", type=Path, metavar="FILE", help="the items, with their texts")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="the dataset's folder"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing dataset")
    parser.add_argument("--licence", default="not stated", help="the terms of use, in words")
    columns = parser.add_argument_group("columns of the interactions")
    columns.add_argument(
        "--user-column", default="user_id", metavar="NAME", help="user ids (user_id)"
    )
    columns.add_argument(
        "--item-column", default="item_id", metavar="NAME", help="item ids (item_id)"
    )
    columns.add_argument("--time-column", metavar="NAME", help="times (default: all are 0)")
    columns.add_argument(
        "--time-unit",
        choices=["s", "ms", "us"],
        default="s",
        help="unit of integer times since 1970 (s)",
    )
    columns.add_argument("--weight-column", metavar="NAME", help="weights (default: all are 1)")
    texts = parser.add_argument_group("columns of the items")
    texts.add_argument("--id-column", default="item_id", metavar="NAME", help="item ids (item_id)")
    texts.add_argument("--title-column", default="title", metavar="NAME", help="titles (title)")
    texts.add_argument("--category-column", metavar="NAME", help="categories (default: empty)")
    texts.add_argument("--description-column", metavar="NAME", help="descriptions (default: empty)")
    parser.set_defaults(run=datasets.import_generic)


if __name__ == "__main__":
    sys.exit(main())
