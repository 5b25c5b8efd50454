"""`reclm-train data teacher`: a teacher's profiles, filtered, as prompts and completions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from training.commands.arguments import add_reading, share
from training.commands.builders.files import HELD_OUT, PROFILES, TRAIN, UNANSWERED
from training.commands.renamed import refuse_old_name
from training.data.teacher.sources import SOURCES, SourceInput, read_source

if TYPE_CHECKING:
    import argparse

    from training.data.teacher.answers import TeacherAnswer

SUMMARY = "filter a teacher's profiles, and write prompts with completions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the builder's arguments."""
    parser.add_argument("source", choices=list(SOURCES), help="the source of the profiles")
    parser.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="the release's folder, llm_response_user.json, or what `teach` wrote",
    )
    parser.add_argument("--kind", choices=["user", "item"], help="(default: both)")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="for seed and ml-1m-gear")
    parser.add_argument(
        "--strict", action="store_true", help="keep only what constrained decoding can generate"
    )
    parser.add_argument(
        "--held-out",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="share of users and items held out for evaluation (default: %(default)s)",
    )
    refuse_old_name(parser, "--no-repetitive")
    parser.add_argument(
        "--no-repetitive",
        action="store_true",
        help="leave out of train.jsonl profiles that repeat the words of a phrase, or name interests "
        "among identities",
    )
    parser.add_argument(
        "--rarest",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="keep in train.jsonl only this share of the profiles that are left, those with the "
        "rarest phrases (default: all)",
    )
    add_reading(parser)


def run(args: argparse.Namespace) -> str:
    """Writes a folder of a teacher's profiles and training pairs; returns what to print.

    Raises:
        InstructionDataError: No answer is left, or the answers cannot be read.
        DatasetError: The dataset cannot be read.
    """
    from services.profiles.domain.profile import Kind
    from training.commands.builders.summary import refuse_empty, summary
    from training.data.filters.answers import filter_prose
    from training.data.folder import check_target, write_folder

    check_target(args.out, replace=args.force)
    kinds = get_args(Kind) if args.kind is None else (args.kind,)
    given = SourceInput(
        source=args.source,
        kinds=kinds,
        path=args.path,
        dataset=args.dataset,
        max_items=args.max_items,
    )
    answers = list(read_source(given))
    about: dict[str, Any] = {"source": args.source, "kind": args.kind, "answers": len(answers)}
    if SOURCES[args.source].form == "profile":
        return _write_profiles(args, answers, about)
    prose, dropped = filter_prose(answers)
    refuse_empty(len(prose), dropped)
    about |= {"form": "prose", "dropped": dropped}
    files = {PROFILES: (answer.to_row() for answer in prose)}
    manifest = write_folder(args.out, files, builder="teacher", about=about, replace=args.force)
    return summary(manifest, args.out) + "\nform: prose, which no model is trained on"


def _write_profiles(
    args: argparse.Namespace, answers: list[TeacherAnswer], about: dict[str, Any]
) -> str:
    from services.profiles.generation.grammar import parse
    from training.commands.builders.inputs import reading_of
    from training.commands.builders.summary import prompt_of, refuse_empty, summary
    from training.data.builders.distillation import (
        distillation_rows,
        is_held_out,
        unanswered_rows,
    )
    from training.data.filters.answers import filter_answers
    from training.data.filters.registry import FilterOptions, filter_rows
    from training.data.folder import write_folder

    found = filter_answers(answers, strict=args.strict)
    refuse_empty(len(found.kept), found.dropped)
    reading = reading_of(args)
    pairs = list(distillation_rows(found.kept, reading))
    held_out = [
        is_held_out(row["kind"], row["id"], share=args.held_out, seed=args.seed) for row in pairs
    ]
    train = [row for row, out in zip(pairs, held_out, strict=True) if not out]
    filtered = filter_rows(
        [parse(row["kind"], row["completion"][0]["content"]) for row in train],
        FilterOptions(no_repetitive=args.no_repetitive, rarest=args.rarest),
    )
    about |= {
        "form": "profile",
        "dropped": dict(found.dropped),
        "undecodable_kept": found.undecodable,
        "nothing_readable": len(found.kept) - len(pairs),
        **filtered.dropped,
        "options": {
            "strict": args.strict,
            "held_out": args.held_out,
            "no_repetitive": args.no_repetitive,
            "rarest": args.rarest,
            "seed": args.seed,
        },
        "prompt": prompt_of(args),
    }
    files = {
        PROFILES: (row.answer.to_row() | {"text": row.words.text} for row in found.kept),
        TRAIN: [row for row, keep in zip(train, filtered.kept, strict=True) if keep],
        HELD_OUT: [row for row, out in zip(pairs, held_out, strict=True) if out],
        UNANSWERED: unanswered_rows(answers, found.kept, reading),
    }
    manifest = write_folder(args.out, files, builder="teacher", about=about, replace=args.force)
    return summary(manifest, args.out)
