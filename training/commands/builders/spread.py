"""`reclm-train data spread`: profiles of a teacher's phrases for users whom the teacher never read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.arguments import add_dataset, add_profiles, add_reading, positive, share
from training.commands.builders.files import EVALUATION, PROFILES, TRAIN
from training.commands.renamed import refuse_old_name
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    import argparse

DIMENSIONS = 16
SUMMARY = "write profiles of a teacher's phrases for users whom the teacher never read"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the builder's arguments."""
    add_profiles(parser)
    add_dataset(parser)
    add_reading(parser, items=20, meaning="most choices of each user that are drawn for the prompt")
    refuse_old_name(parser, "--evaluation-prompts")
    parser.add_argument(
        "--evaluation-prompts",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="use no choice of the users of these rows, such as prompts.jsonl of `data unseen`, nor "
        "of those whom --profiles holds out",
    )
    parser.add_argument(
        "--users",
        type=positive,
        default=1_200,
        metavar="N",
        help="most users (default: %(default)s)",
    )
    parser.add_argument(
        "--fewest",
        type=positive,
        default=1,
        metavar="N",
        help="least number of choices in a prompt (default: %(default)s); as many prompts have one "
        "or two as have seven to twenty",
    )
    parser.add_argument(
        "--common",
        type=positive,
        default=10,
        metavar="N",
        help="least number of profiles that contain a phrase, for it to be used "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--dimensions",
        type=positive,
        default=DIMENSIONS,
        metavar="N",
        help="dimensions of an item vector (default: %(default)s)",
    )
    parser.add_argument(
        "--at-most",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="most profiles that get the same phrase, as a share of --users (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> str:
    """Writes profiles of a teacher's phrases for other users; returns what to print.

    Raises:
        InstructionDataError: The arguments contradict each other, or no profile can be written.
    """
    from services.common.hashing import sha256_of
    from training.commands.builders.inputs import (
        held_out_users,
        read_profiles,
        read_users,
        reading_of,
    )
    from training.commands.builders.summary import (
        dataset_of,
        options_of,
        prompt_of,
        refuse_empty,
        summary,
    )
    from training.data.builders.distillation import distillation_rows
    from training.data.builders.spreading import Spreader, evaluation_profiles, spread_profiles
    from training.data.folder import check_target, write_folder
    from training.data.prompts import item_lines
    from training.data.sources import read_training_part

    check_target(args.out, replace=args.force)
    if args.fewest > args.max_items:
        raise InstructionDataError(
            f"--fewest {args.fewest} is more than --max-items {args.max_items}"
        )
    reading = reading_of(args)
    kept, origin = read_profiles(args.profiles)
    evaluated = held_out_users(args.profiles).union(*map(read_users, args.evaluation_prompts))
    kept = [row for row in kept if row.answer.id not in evaluated]
    refuse_empty(len(kept), {"evaluation prompts": len(evaluated)})
    dataset = read_training_part(args.dataset, args.split)
    lines = item_lines(dataset)
    histories = {
        name: list(dict.fromkeys(history))
        for name, history in dataset.histories(min_weight=args.min_weight).items()
    }
    others = {name: history for name, history in histories.items() if name not in evaluated}
    spreader = Spreader(kept, others, lines, common=args.common, dimensions=args.dimensions)
    built = spread_profiles(
        spreader,
        histories,
        lines,
        dict.fromkeys((row.answer.id for row in kept), "teacher's profile")
        | dict.fromkeys(evaluated, "evaluation prompts"),
        reading,
        users=args.users,
        fewest=args.fewest,
        at_most=args.at_most,
        seed=args.seed,
    )
    refuse_empty(len(built.kept), built.counts)
    about = {
        "profiles": origin,
        "evaluation_prompts": [sha256_of(file) for file in args.evaluation_prompts],
        "dataset": dataset_of(args, dataset),
        "left_out": dict(built.counts),
        "phrases": spreader.phrases,
        "options": options_of(args, "users", "fewest", "common", "dimensions", "at_most", "seed"),
        "prompt": prompt_of(args),
    }
    files = {
        PROFILES: [row.answer.to_row() for row in built.kept],
        TRAIN: list(distillation_rows(built.kept, reading)),
        EVALUATION: [
            row for file in args.evaluation_prompts for row in evaluation_profiles(spreader, file)
        ],
    }
    manifest = write_folder(args.out, files, builder="spread", about=about, replace=args.force)
    return summary(manifest, args.out)
