"""`reclm-train data preferences`: pairs for a reward model, and prompts for its policy."""

from __future__ import annotations

import argparse

from training.commands.arguments import (
    add_dataset,
    add_neighbours,
    add_profiles,
    add_reading,
    positive,
    share,
)

SUMMARY = "write pairs for a reward model, and prompts for reinforcement learning"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the builder's arguments."""
    add_profiles(parser)
    add_dataset(parser)
    add_neighbours(parser)
    add_reading(parser)
    parser.add_argument(
        "--share",
        type=_named_share,
        action="append",
        metavar="KIND=SHARE",
        help="share of pairs with this corruption; name all kinds or none (default: the paper's)",
    )
    parser.add_argument(
        "--parts",
        type=_parts,
        metavar="A,B,C",
        help="shares of users for training the reward model, for its evaluation, and for "
        "reinforcement learning (default: 0.4,0.2,0.4)",
    )
    parser.add_argument(
        "--pairs",
        type=positive,
        default=1,
        metavar="N",
        help="pairs of each user that the reward model is trained on, with as many neighbours "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> str:
    """Writes preference pairs and prompts for reinforcement learning; returns what to print."""
    from training.commands.builders.inputs import find_neighbours, read_profiles, reading_of
    from training.commands.builders.summary import dataset_of, options_of, prompt_of, summary
    from training.data.builders.corruptions import SHARES
    from training.data.builders.preferences import PARTS, preference_rows
    from training.data.folder import check_target, write_folder
    from training.data.sources import read_training_part

    check_target(args.out, replace=args.force)
    kept, origin = read_profiles(args.profiles)
    dataset = read_training_part(args.dataset, args.split)
    found, by = find_neighbours(args, dataset, "user", [row.answer.id for row in kept])
    shares = dict(args.share) if args.share else dict(SHARES)
    parts = dict(zip(PARTS, args.parts, strict=True)) if args.parts else dict(PARTS)
    built = preference_rows(
        kept, found, reading_of(args), shares=shares, parts=parts, pairs=args.pairs, seed=args.seed
    )
    about = {
        "profiles": origin,
        "dataset": dataset_of(args, dataset),
        "by": by,
        "counts": dict(built.counts),
        "options": {
            "shares": shares,
            "parts": parts,
            **options_of(args, "pairs", "seed", "limit"),
        },
        "prompt": prompt_of(args),
    }
    files = {f"{part}.jsonl": rows for part, rows in built.rows.items()}
    manifest = write_folder(args.out, files, builder="preferences", about=about, replace=args.force)
    return summary(manifest, args.out)


def _named_share(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=SHARE")
    return name, share(number)


def _parts(text: str) -> list[float]:
    numbers = [share(part) for part in text.split(",")]
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not three shares")
    return numbers
