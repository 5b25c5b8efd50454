"""`reclm-train data unseen`: prompts for evaluation, of users without a profile in the training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.arguments import add_dataset, add_reading, positive
from training.commands.builders.files import PROMPTS

if TYPE_CHECKING:
    import argparse

SUMMARY = "write prompts for evaluation, of users without a profile in the training data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the builder's arguments."""
    parser.add_argument(
        "--profiles",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="leave out the users of these: what `data teacher` wrote, or files of rows with an id",
    )
    add_dataset(parser)
    add_reading(parser, items=20, meaning="choices of each user that are drawn for the prompt")
    parser.add_argument(
        "--users",
        type=positive,
        default=1_200,
        metavar="N",
        help="most users (default: %(default)s)",
    )
    parser.add_argument(
        "--hidden",
        type=positive,
        default=20,
        metavar="N",
        help="least number of further choices, for a profile to find (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> str:
    """Writes prompts of users without a profile in the training data; returns what to print."""
    from services.common.hashing import sha256_of
    from training.commands.builders.inputs import profiles_file, read_users, reading_of
    from training.commands.builders.summary import (
        dataset_of,
        options_of,
        prompt_of,
        refuse_empty,
        summary,
    )
    from training.data.builders.unseen import unseen_rows
    from training.data.folder import check_target, write_folder
    from training.data.prompts import item_lines
    from training.data.sources import read_training_part

    check_target(args.out, replace=args.force)
    files = [profiles_file(path) for path in args.profiles]
    seen = set().union(*map(read_users, files))
    dataset = read_training_part(args.dataset, args.split)
    built = unseen_rows(
        dataset.histories(min_weight=args.min_weight),
        item_lines(dataset),
        seen,
        reading_of(args),
        users=args.users,
        hidden=args.hidden,
        seed=args.seed,
    )
    refuse_empty(len(built.rows), built.counts)
    about = {
        "profiles": [sha256_of(file) for file in files],
        "dataset": dataset_of(args, dataset),
        "left_out": dict(built.counts),
        "cut": built.cut,
        "options": options_of(args, "users", "hidden", "seed"),
        "prompt": prompt_of(args),
    }
    manifest = write_folder(
        args.out, {PROMPTS: built.rows}, builder="unseen", about=about, replace=args.force
    )
    return summary(manifest, args.out)
