"""What `reclm-train data` does. Heavy imports wait until a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.data.builders.summary import dataset_of, prompt_of, refuse_nothing, told
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from services.profiles.domain.profile import Kind
    from training.data.builders.distillation import Reading
    from training.data.filters.answers import Kept
    from training.data.teacher.answers import Answer

SOURCES = ("seed", "reclm-mind", "reclm-netflix", "ml-1m-gear", "answers")
PROFILES, TRAIN, HELD_OUT = "profiles.jsonl", "train.jsonl", "held-out.jsonl"
UNTAUGHT = "untaught.jsonl"
NEIGHBOURS, SAMPLES, PROMPTS = "neighbours.jsonl", "samples.jsonl", "prompts.jsonl"
EVALUATION = "evaluation.jsonl"

_KINDS: tuple[Kind, ...] = ("user", "item")


def teacher(args: argparse.Namespace) -> str:
    """Makes a folder of a teacher's profiles and the pairs to learn from; returns what to print.

    Raises:
        InstructionDataError: Nothing is left of the answers, or they cannot be read.
    """
    from services.profiles.generation.grammar import parse
    from training.data.builders.distillation import distillation_rows, is_held_out, untaught_rows
    from training.data.filters.answers import filter_answers, filter_prose
    from training.data.filters.rarity import rarest
    from training.data.filters.repetition import repetitive
    from training.data.folder import check_place, write_folder

    check_place(args.out, replace=args.force)
    answers = [row for row in _answers(args) if args.kind in {None, row.kind}]
    about: dict[str, Any] = {"source": args.source, "kind": args.kind, "answers": len(answers)}
    if args.source == "ml-1m-gear":
        prose, dropped = filter_prose(answers)
        refuse_nothing(len(prose), dropped)
        rows: Iterator[Mapping[str, Any]] = (answer.to_row() for answer in prose)
        about |= {"form": "prose", "dropped": dropped}
        manifest = write_folder(
            args.out, {PROFILES: rows}, builder="teacher", about=about, replace=args.force
        )
        return told(manifest, args.out) + "\nform: prose, which no profile is trained on"
    found = filter_answers(answers, strict=args.strict)
    refuse_nothing(len(found.kept), found.dropped)
    reading = _reading(args)
    pairs = list(distillation_rows(found.kept, reading))
    held = [
        is_held_out(row["kind"], row["id"], share=args.held_out, seed=args.seed) for row in pairs
    ]
    learnt = [
        (row, parse(row["kind"], row["completion"][0]["content"]))
        for row, out in zip(pairs, held, strict=True)
        if not out
    ]
    mixed = (
        repetitive([words for _, words in learnt]) if args.no_repetitive else [False] * len(learnt)
    )
    plain = [pair for pair, out in zip(learnt, mixed, strict=True) if not out]
    rare = rarest([words for _, words in plain], args.rarest)
    profiles = (row.answer.to_row() | {"text": row.words.text} for row in found.kept)
    about |= {
        "form": "profile",
        "dropped": dict(found.dropped),
        "undecodable_kept": found.undecodable,
        "nothing_readable": len(found.kept) - len(pairs),
        "repetitive": len(learnt) - len(plain),
        "bland": rare.count(False),
        "options": {
            "strict": args.strict,
            "held_out": args.held_out,
            "no_muddle": args.no_repetitive,
            "rarest": args.rarest,
            "seed": args.seed,
        },
        "prompt": prompt_of(args),
    }
    files = {
        PROFILES: profiles,
        TRAIN: [row for (row, _), keep in zip(plain, rare, strict=True) if keep],
        HELD_OUT: [row for row, out in zip(pairs, held, strict=True) if out],
        UNTAUGHT: untaught_rows(answers, found.kept, reading),
    }
    manifest = write_folder(args.out, files, builder="teacher", about=about, replace=args.force)
    return told(manifest, args.out)


def neighbours(args: argparse.Namespace) -> str:
    """Writes the neighbours of all users or items; returns what to print."""
    from training.data.folder import check_place, write_folder
    from training.data.sources import read_training_part

    check_place(args.out, replace=args.force)
    dataset = read_training_part(args.dataset, args.split)
    found, by = _neighbours(args, dataset, args.kind, None)
    rows = ({"id": name, "neighbours": others} for name, others in found.items())
    about = {"kind": args.kind, "by": by, "limit": args.limit, "dataset": dataset_of(args, dataset)}
    manifest = write_folder(
        args.out, {NEIGHBOURS: rows}, builder="neighbours", about=about, replace=args.force
    )
    return told(manifest, args.out)


def collaborative(args: argparse.Namespace) -> str:
    """Writes collaborative conversations; returns what to print."""
    from training.data.builders.collaborative import collaborative_rows, rehearsal_rows
    from training.data.folder import check_place, write_folder
    from training.data.prompts import item_lines
    from training.data.sources import read_training_part

    check_place(args.out, replace=args.force)
    kept, origin = _profiles(args.profiles)
    dataset = read_training_part(args.dataset, args.split)
    profiles = {row.answer.id: row.words for row in kept}
    found, by = _neighbours(args, dataset, "user", list(profiles))
    reading = _reading(args)
    built = collaborative_rows(
        profiles,
        dataset.histories(min_weight=args.min_weight),
        item_lines(dataset),
        found,
        reading,
        similar=args.similar,
        seed=args.seed,
    )
    refuse_nothing(len(built.rows), built.counts)
    rehearsed = rehearsal_rows(kept, reading, most=args.rehearse * len(built.rows), seed=args.seed)
    about = {
        "profiles": origin,
        "dataset": dataset_of(args, dataset),
        "by": by,
        "left_out": dict(built.counts),
        "rehearsed": len(rehearsed),
        "options": {name: getattr(args, name) for name in ("similar", "rehearse", "seed", "limit")},
        "prompt": prompt_of(args),
    }
    files = {SAMPLES: [*built.rows, *rehearsed]}
    manifest = write_folder(
        args.out, files, builder="collaborative", about=about, replace=args.force
    )
    return told(manifest, args.out)


def preferences(args: argparse.Namespace) -> str:
    """Writes preference pairs and prompts for reinforcement; returns what to print."""
    from training.data.builders.corruptions import SHARES
    from training.data.builders.preferences import PARTS, preference_rows
    from training.data.folder import check_place, write_folder
    from training.data.sources import read_training_part

    check_place(args.out, replace=args.force)
    kept, origin = _profiles(args.profiles)
    dataset = read_training_part(args.dataset, args.split)
    found, by = _neighbours(args, dataset, "user", [row.answer.id for row in kept])
    shares = dict(args.share) if args.share else dict(SHARES)
    parts = dict(zip(PARTS, args.parts, strict=True)) if args.parts else dict(PARTS)
    built = preference_rows(
        kept, found, _reading(args), shares=shares, parts=parts, pairs=args.pairs, seed=args.seed
    )
    about = {
        "profiles": origin,
        "dataset": dataset_of(args, dataset),
        "by": by,
        "counts": dict(built.counts),
        "options": {
            "shares": shares,
            "parts": parts,
            "pairs": args.pairs,
            "seed": args.seed,
            "limit": args.limit,
        },
        "prompt": prompt_of(args),
    }
    files = {f"{part}.jsonl": rows for part, rows in built.rows.items()}
    manifest = write_folder(args.out, files, builder="preferences", about=about, replace=args.force)
    return told(manifest, args.out)


def unseen(args: argparse.Namespace) -> str:
    """Writes prompts of users whom no profile was taught of; returns what to print."""
    from training.data.builders.unseen import unseen_rows
    from training.data.folder import check_place, digest_of, write_folder
    from training.data.prompts import item_lines
    from training.data.sources import read_training_part

    check_place(args.out, replace=args.force)
    files = [_profiles_file(path) for path in args.profiles]
    seen = set().union(*map(_users, files))
    dataset = read_training_part(args.dataset, args.split)
    built = unseen_rows(
        dataset.histories(min_weight=args.min_weight),
        item_lines(dataset),
        seen,
        _reading(args),
        users=args.users,
        hidden=args.hidden,
        seed=args.seed,
    )
    refuse_nothing(len(built.rows), built.counts)
    about = {
        "profiles": [digest_of(file) for file in files],
        "dataset": dataset_of(args, dataset),
        "left_out": dict(built.counts),
        "cut": built.cut,
        "options": {name: getattr(args, name) for name in ("users", "hidden", "seed")},
        "prompt": prompt_of(args),
    }
    manifest = write_folder(
        args.out, {PROMPTS: built.rows}, builder="unseen", about=about, replace=args.force
    )
    return told(manifest, args.out)


def spread(args: argparse.Namespace) -> str:
    """Writes profiles of a teacher's phrases for users it never read; returns what to print."""
    from training.data.builders.distillation import distillation_rows
    from training.data.builders.spreading import Spreader, evaluation_profiles, spread_profiles
    from training.data.folder import check_place, digest_of, write_folder
    from training.data.prompts import item_lines
    from training.data.sources import read_training_part

    check_place(args.out, replace=args.force)
    if args.fewest > args.max_items:
        raise InstructionDataError(
            f"--fewest {args.fewest} is more than --max-items {args.max_items}"
        )
    reading = _reading(args)
    kept, origin = _profiles(args.profiles)
    evaluated = _held_out(_profiles_file(args.profiles).with_name(HELD_OUT))
    evaluated = evaluated.union(*map(_users, args.evaluation_prompts))
    kept = [row for row in kept if row.answer.id not in evaluated]
    refuse_nothing(len(kept), {"evaluation prompts": len(evaluated)})
    dataset = read_training_part(args.dataset, args.split)
    lines = item_lines(dataset)
    histories = {
        name: list(dict.fromkeys(history))
        for name, history in dataset.histories(min_weight=args.min_weight).items()
    }
    others = {name: history for name, history in histories.items() if name not in evaluated}
    spreader = Spreader(kept, others, lines, common=args.common)
    built = spread_profiles(
        spreader,
        histories,
        lines,
        dict.fromkeys((row.answer.id for row in kept), "taught")
        | dict.fromkeys(evaluated, "evaluation prompts"),
        reading,
        users=args.users,
        fewest=args.fewest,
        at_most=args.at_most,
        seed=args.seed,
    )
    refuse_nothing(len(built.kept), built.counts)
    about = {
        "profiles": origin,
        "evaluation_prompts": [digest_of(file) for file in args.evaluation_prompts],
        "dataset": dataset_of(args, dataset),
        "left_out": dict(built.counts),
        "phrases": spreader.phrases,
        "options": {
            name: getattr(args, name) for name in ("users", "fewest", "common", "at_most", "seed")
        },
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
    return told(manifest, args.out)


def _answers(args: argparse.Namespace) -> Iterator[Answer]:
    from recommenders.data.dataset import Dataset
    from training.data.seeds import read_seeds
    from training.data.teacher.answers import read_answers
    from training.data.teacher.journal import ANSWERS
    from training.data.teacher.released import (
        read_gear_answers,
        read_release_items,
        read_release_users,
    )

    kinds = _KINDS if args.kind is None else (args.kind,)
    if args.source in {"seed", "ml-1m-gear"} and args.dataset is None:
        raise InstructionDataError(f"teacher {args.source} needs --dataset: its texts are there")
    if args.source != "seed" and args.path is None:
        raise InstructionDataError(f"teacher {args.source} needs the path of what was written")
    if args.source == "seed":
        dataset = Dataset.read(args.dataset)
        for kind in kinds:
            yield from read_seeds(dataset, kind)
    elif args.source == "ml-1m-gear":
        yield from read_gear_answers(args.path, Dataset.read(args.dataset), limit=args.max_items)
    elif args.source == "answers":
        yield from read_answers(args.path / ANSWERS if args.path.is_dir() else args.path)
    else:
        release = args.source.removeprefix("reclm-")
        for kind in kinds:
            read = read_release_users if kind == "user" else read_release_items
            yield from read(args.path, release)


def _profiles(path: Path) -> tuple[list[Kept], dict[str, str | int]]:
    """Reads users' profiles that `data teacher` wrote, and what stands for them in a manifest.

    Those of held-out users stay unread, of a target and of a similar user alike: whoever judges a
    model by them later judges it on users that no step has seen.
    """
    from services.profiles.generation.grammar import NotAProfile, parse
    from training.data.filters.answers import Kept
    from training.data.folder import digest_of, read_manifest
    from training.data.teacher.answers import read_answers

    file = _profiles_file(path)
    held_out = _held_out(file.with_name(HELD_OUT))
    kept = []
    left_out = 0
    for row in read_answers(file):
        if row.kind == "user" and row.id in held_out:
            left_out += 1
        elif row.kind == "user":
            try:
                kept.append(Kept(row, parse("user", row.text)))
            except NotAProfile as error:
                raise InstructionDataError(f"{file}: user {row.id}: {error}") from error
    if not kept:
        raise InstructionDataError(
            f"{file} has no users' profiles that are not held out; `data teacher` writes some"
        )
    origin: dict[str, str | int] = {"sha256": digest_of(file), "held_out": left_out}
    if path.is_dir():
        origin["fingerprint"] = read_manifest(path)["fingerprint"]
    return kept, origin


def _profiles_file(path: Path) -> Path:
    return path / PROFILES if path.is_dir() else path


def _held_out(file: Path) -> set[str]:
    """Returns the users that a teacher's folder holds out; nobody where there is no such file."""
    return _users(file) if file.is_file() else set()


def _users(file: Path) -> set[str]:
    """Returns the ids of a file's rows; rows of an item are passed over."""
    from training.data.folder import read_lines

    found = set()
    for number, row in enumerate(read_lines(file), start=1):
        if not isinstance(row.get("id"), str):
            raise InstructionDataError(f"{file}, line {number}: no id, or one that is not text")
        if row.get("kind", "user") == "user":
            found.add(row["id"])
    return found


def _neighbours(
    args: argparse.Namespace, dataset: Dataset, kind: Kind, names: Sequence[str] | None
) -> tuple[dict[str, list[str]], str]:
    """Finds neighbours among `names`, or all, and says by what."""
    from training.data.builders.neighbours import (
        bundle_vectors,
        chosen_by,
        neighbours_by_choice,
        neighbours_by_vectors,
    )

    if args.vectors is not None:
        known, vectors = bundle_vectors(args.vectors, kind)
        wanted = set(known if names is None else names)
        rows = [row for row, name in enumerate(known) if name in wanted]
        ids = [known[row] for row in rows]
        found = neighbours_by_vectors(ids, vectors[rows], limit=args.limit)
        return found, f"cosine of the vectors of {args.vectors.resolve().name}"
    histories: Mapping[str, Sequence[str]] = dataset.histories(min_weight=args.min_weight)
    if kind == "item":
        histories = chosen_by(histories)
    ids = list(histories if names is None else names)
    return neighbours_by_choice(histories, ids, limit=args.limit), "weighted co-occurrence"


def _reading(args: argparse.Namespace) -> Reading:
    from services.profiles.generation.token_budget import tokenizer_counter, utf8_length
    from training.data.builders.distillation import Reading

    return Reading(
        count=tokenizer_counter(args.model) if args.model else utf8_length,
        history_tokens=args.history_tokens,
        max_items=args.max_items,
        examples=args.examples,
        prompt=args.prompt,
    )
