"""The inputs that several builders read: profiles, ids, neighbours. Heavy imports wait until used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.commands.builders.files import HELD_OUT, PROFILES
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from services.profiles.domain.profile import Kind
    from training.data.builders.distillation import Reading
    from training.data.filters.answers import Kept


def read_profiles(path: Path) -> tuple[list[Kept], dict[str, str | int]]:
    """Reads the users' profiles that `data teacher` wrote, but for those of held-out users.

    A model is evaluated on held-out users. So no builder reads their profiles, neither as targets
    nor as those of similar users.

    Args:
        path: The folder, or its file of profiles.

    Returns:
        The profiles, and what a manifest records of them.

    Raises:
        InstructionDataError: There are none, or they cannot be read.
    """
    from services.common.hashing import sha256_of
    from services.profiles.generation.grammar import NotAProfile, parse
    from training.data.filters.answers import Kept
    from training.data.folder import read_manifest
    from training.data.teacher.answers import read_answers

    file = profiles_file(path)
    held_out = held_out_users(path)
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
            f"{file} has no profiles of users who are not held out; `data teacher` writes some"
        )
    origin: dict[str, str | int] = {"sha256": sha256_of(file), "held_out": left_out}
    if path.is_dir():
        origin["fingerprint"] = read_manifest(path)["fingerprint"]
    return kept, origin


def profiles_file(path: Path) -> Path:
    """Returns the file of profiles in a teacher's folder; a file is returned as it is."""
    return path / PROFILES if path.is_dir() else path


def held_out_users(profiles: Path) -> set[str]:
    """Returns the users that a teacher's folder holds out; none where it lists none."""
    file = profiles_file(profiles).with_name(HELD_OUT)
    return read_users(file) if file.is_file() else set()


def read_users(file: Path) -> set[str]:
    """Returns the ids of a file's rows, but for those of items.

    Raises:
        InstructionDataError: A row has no id; the line is named.
    """
    from training.data.folder import read_lines

    found = set()
    for number, row in enumerate(read_lines(file), start=1):
        if not isinstance(row.get("id"), str):
            raise InstructionDataError(f"{file}, line {number}: no id, or one that is not text")
        if row.get("kind", "user") == "user":
            found.add(row["id"])
    return found


def find_neighbours(
    args: argparse.Namespace, dataset: Dataset, kind: Kind, names: Sequence[str] | None
) -> tuple[dict[str, list[str]], str]:
    """Finds the neighbours of users or items.

    Args:
        args: Has `vectors`, `limit` and `min_weight`.
        dataset: The choices.
        kind: Users or items.
        names: Those to find neighbours of and among; None for all.

    Returns:
        Id -> ids of the neighbours, and the measure, for the manifest.
    """
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


def reading_of(args: argparse.Namespace) -> Reading:
    """Returns how prompts are cut, as the arguments of `add_reading` say."""
    from services.profiles.generation.token_budget import tokenizer_counter, utf8_length
    from training.data.builders.distillation import Reading

    return Reading(
        count=tokenizer_counter(args.model) if args.model else utf8_length,
        history_tokens=args.history_tokens,
        max_items=args.max_items,
        examples=args.examples,
        prompt=args.prompt,
    )
