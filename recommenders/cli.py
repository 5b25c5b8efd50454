"""The command `reclm-recommend`."""

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
        The exit status: 0, 1 after an error, which is told on stderr, 3 where an audit finds that
        a dataset is not sound, or 130 after an interrupt. Wrong usage exits with 2.
    """
    args = _parser().parse_args(argv)
    try:
        if told := args.run(args):
            print(told)
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
        print("reclm-recommend: interrupted; the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        print(f"reclm-recommend: {error.name} is not installed: `make recommend`", file=sys.stderr)
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
    get.set_defaults(run=lambda args: datasets.get_ml_100k(args.out, force=args.force))

    _add_import(actions)

    show = actions.add_parser("show", help="check a dataset folder and say what is in it")
    show.add_argument("folder", type=Path, metavar="DIR")
    show.set_defaults(run=lambda args: datasets.show(args.folder))

    _add_core(actions)
    _add_audit(actions)
    features.add_command(rooms)
    benchmark.add_commands(rooms)
    export.add_commands(rooms)
    study.add_command(rooms)
    return parser


def _add_core(actions: Actions) -> None:
    core = actions.add_parser(
        "core",
        help="the part of a dataset in which nobody and nothing is rare",
        description="Leaves out users and items with too few interactions, until all have enough "
        "(the k-core), and writes what is left as a dataset.",
    )
    core.add_argument("folder", type=Path, metavar="DIR")
    core.add_argument("--users", type=int, default=5, metavar="N", help="a user's least (5)")
    core.add_argument("--items", type=int, default=5, metavar="N", help="an item's least (5)")
    core.add_argument("--out", type=Path, required=True, metavar="DIR")
    core.add_argument("--force", action="store_true", help="replace the dataset that is there")
    core.set_defaults(
        run=lambda args: datasets.keep_core(
            args.folder, args.out, users=args.users, items=args.items, force=args.force
        )
    )


def _add_audit(actions: Actions) -> None:
    audit = actions.add_parser(
        "audit",
        help="whether figures on a dataset can be trusted; exits with 3 if not",
        description="Looks for what would make figures on a dataset worthless: text that is not "
        "its items' own, repetitions, and training that knows the answers (docs/reference/audit.md).",
    )
    audit.add_argument("folder", type=Path, metavar="DIR")
    audit.add_argument(
        "--split",
        metavar="KIND[,OPTION=VALUE...]",
        help="what is checked for leaks, such as random,seed=1 (the published one)",
    )
    audit.add_argument(
        "--profiles", type=Path, metavar="FILE", help="profiles of users, as JSON lines"
    )
    audit.add_argument("--json", action="store_true", help="print JSON")
    audit.set_defaults(run=datasets.audit)


def _add_import(actions: Actions) -> None:
    imports = actions.add_parser(
        "import",
        help="make a dataset's folder from files that others published",
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
        parser.add_argument(
            "--force", action="store_true", help="replace the dataset that is there"
        )
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
            "--out", type=Path, metavar="FILE", required=True, help="what to write"
        )
        profiles.set_defaults(
            run=lambda args, name=name: datasets.import_profiles(name, args.path, args.out)
        )


def _add_generic(sources: Actions) -> None:
    summary = "anybody's interactions and items, as CSV, TSV or Parquet"
    parser = sources.add_parser("table", help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument("path", type=Path, metavar="PATH", help="the interactions")
    parser.add_argument("--items", type=Path, metavar="FILE", help="the items, with their texts")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="the dataset's folder"
    )
    parser.add_argument("--force", action="store_true", help="replace the dataset that is there")
    parser.add_argument("--licence", default="not stated", help="the terms of use, in words")
    told = parser.add_argument_group("columns of the interactions")
    told.add_argument("--user-column", default="user_id", metavar="NAME", help="(user_id)")
    told.add_argument("--item-column", default="item_id", metavar="NAME", help="(item_id)")
    told.add_argument("--time-column", metavar="NAME", help="times; none: all are 0")
    told.add_argument(
        "--time-unit",
        choices=["s", "ms", "us"],
        default="s",
        help="of whole numbers, since 1970 (s)",
    )
    told.add_argument("--weight-column", metavar="NAME", help="weights; none: all are 1")
    texts = parser.add_argument_group("columns of the items")
    texts.add_argument("--id-column", default="item_id", metavar="NAME", help="(item_id)")
    texts.add_argument("--title-column", default="title", metavar="NAME", help="(title)")
    texts.add_argument("--category-column", metavar="NAME", help="categories; none: all are empty")
    texts.add_argument("--description-column", metavar="NAME", help="none: all are empty")
    parser.set_defaults(run=datasets.import_generic)


if __name__ == "__main__":
    sys.exit(main())
