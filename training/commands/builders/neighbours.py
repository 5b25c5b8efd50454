"""`reclm-train data neighbours`: the similar users or items of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.commands.arguments import add_dataset, add_neighbours
from training.commands.builders.files import NEIGHBOURS

if TYPE_CHECKING:
    import argparse

SUMMARY = "find similar users or items"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the builder's arguments."""
    parser.add_argument("--kind", choices=["user", "item"], required=True)
    add_dataset(parser)
    add_neighbours(parser)


def run(args: argparse.Namespace) -> str:
    """Writes the neighbours of all users or items; returns what to print."""
    from training.commands.builders.inputs import find_neighbours
    from training.commands.builders.summary import dataset_of, summary
    from training.data.folder import check_target, write_folder
    from training.data.sources import read_training_part

    check_target(args.out, replace=args.force)
    dataset = read_training_part(args.dataset, args.split)
    found, by = find_neighbours(args, dataset, args.kind, None)
    rows = ({"id": name, "neighbours": others} for name, others in found.items())
    about = {"kind": args.kind, "by": by, "limit": args.limit, "dataset": dataset_of(args, dataset)}
    manifest = write_folder(
        args.out, {NEIGHBOURS: rows}, builder="neighbours", about=about, replace=args.force
    )
    return summary(manifest, args.out)
