"""`reclm-train data collaborative`: conversations that ask for profiles, then for a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.commands.arguments import (
    add_dataset,
    add_neighbours,
    add_profiles,
    add_reading,
    positive,
    whole,
)
from training.commands.builders.files import SAMPLES

if TYPE_CHECKING:
    import argparse

SUMMARY = "write conversations that ask for profiles, then for a choice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the builder's arguments."""
    add_profiles(parser)
    add_dataset(parser)
    add_neighbours(parser)
    add_reading(parser)
    parser.add_argument(
        "--similar",
        type=positive,
        default=3,
        metavar="N",
        help="similar users in a conversation (default: %(default)s)",
    )
    parser.add_argument(
        "--rehearse",
        type=whole,
        default=4,
        metavar="N",
        help="single profiles, asked for as the service does, for each conversation "
        "(default: %(default)s; the paper: 0)",
    )


def run(args: argparse.Namespace) -> str:
    """Writes collaborative conversations; returns what to print."""
    from training.commands.builders.inputs import find_neighbours, read_profiles, reading_of
    from training.commands.builders.summary import (
        dataset_of,
        options_of,
        prompt_of,
        refuse_empty,
        summary,
    )
    from training.data.builders.collaborative import collaborative_rows, rehearsal_rows
    from training.data.folder import check_target, write_folder
    from training.data.prompts import item_lines
    from training.data.sources import read_training_part

    check_target(args.out, replace=args.force)
    kept, origin = read_profiles(args.profiles)
    dataset = read_training_part(args.dataset, args.split)
    profiles = {row.answer.id: row.words for row in kept}
    found, by = find_neighbours(args, dataset, "user", list(profiles))
    reading = reading_of(args)
    built = collaborative_rows(
        profiles,
        dataset.histories(min_weight=args.min_weight),
        item_lines(dataset),
        found,
        reading,
        similar=args.similar,
        seed=args.seed,
    )
    refuse_empty(len(built.rows), built.counts)
    rehearsed = rehearsal_rows(kept, reading, most=args.rehearse * len(built.rows), seed=args.seed)
    about = {
        "profiles": origin,
        "dataset": dataset_of(args, dataset),
        "by": by,
        "left_out": dict(built.counts),
        "rehearsed": len(rehearsed),
        "options": options_of(args, "similar", "rehearse", "seed", "limit"),
        "prompt": prompt_of(args),
    }
    files = {SAMPLES: [*built.rows, *rehearsed]}
    manifest = write_folder(
        args.out, files, builder="collaborative", about=about, replace=args.force
    )
    return summary(manifest, args.out)
