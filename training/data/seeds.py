"""The seed set: profiles for MovieLens 100K that a first adapter can be trained on.

A language model wrote them one by one, from the histories that `read_seeds` returns. With them,
training needs neither a teacher nor a key to begin. See `seed/README.md`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.data.neighbours import co_chosen
from services.common.hashing import sha256_of
from services.profiles.domain.profile import PHRASES, Kind, ProfileText
from training.data.errors import InstructionDataError
from training.data.folder import read_lines, read_manifest
from training.data.prompts import item_lines
from training.data.teacher.answers import TeacherAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recommenders.data.dataset import Dataset

SOURCE = "seed"
FILES: Mapping[Kind, str] = {"user": "users.jsonl", "item": "items.jsonl"}

# The texts that the writer read; the manifest has the same numbers.
LEFT_OUT = 5  # the newest fifth of each history was not read
LIKED, ENDURED, ENOUGH = 4.0, 3.0, 8
NEWEST, NEIGHBOURS = 24, 6


def seed_folder() -> Path:
    """Returns the folder of the seed set."""
    return Path(str(resources.files("training.data") / "seed"))


def seed_profiles(kind: Kind) -> dict[str, ProfileText]:
    """Returns the seed set's profiles by MovieLens id.

    Raises:
        InstructionDataError: The file differs from the manifest.
    """
    folder = seed_folder()
    path = folder / FILES[kind]
    if read_manifest(folder)["files"][path.name]["sha256"] != sha256_of(path):
        raise InstructionDataError(f"{path} differs from its manifest")
    profiles = {}
    for row in read_lines(path):
        words = ProfileText(kind, tuple(row["identities"]), tuple(row["interests"]))
        if {len(words.identities), len(words.interests)} != {PHRASES[kind]}:
            raise InstructionDataError(f"{path}: {row['id']} has too few or too many phrases")
        profiles[row["id"]] = words
    return profiles


def read_seeds(dataset: Dataset, kind: Kind) -> Iterator[TeacherAnswer]:
    """Yields the seed set as answers, with the lines that the writer read.

    The newest fifth of each user's history was left out. Of the rest the writer read, for a user, the
    newest 24 films rated at least 4 (at least 3, for users with fewer than 8 of those); for a film,
    the film and its 6 nearest neighbours by cosine of the users who rated both at least 4.

    Args:
        dataset: MovieLens 100K, as `reclm-recommend data get ml-100k` makes it.
        kind: Users or items.

    Raises:
        InstructionDataError: The dataset lacks a user or item of the seed set.
    """
    profiles = seed_profiles(kind)
    lines = item_lines(dataset)
    histories = {user: items[: _read(items)] for user, items in dataset.histories().items()}
    known = set(lines) if kind == "item" else set(histories)
    if lacking := sorted(set(profiles) - known, key=int):
        raise InstructionDataError(
            f"dataset {dataset.info.name!r} has no {kind} {', '.join(lacking[:5])}; the seed set is "
            "for ml-100k: `reclm-recommend data get ml-100k`"
        )
    rated = _ratings(dataset)
    liked = {
        user: [item for item in items if rated[user, item] >= LIKED]
        for user, items in histories.items()
    }
    if kind == "user":
        for user, words in profiles.items():
            read = liked[user]
            if len(read) < ENOUGH:
                read = [item for item in histories[user] if rated[user, item] >= ENDURED]
            shown = tuple(lines[item] for item in read[-NEWEST:])
            yield TeacherAnswer(kind=kind, id=user, text=words.text, lines=shown, source=SOURCE)
        return
    neighbours = dict(zip(lines, co_chosen(liked, list(lines), limit=NEIGHBOURS), strict=True))
    for item, words in profiles.items():
        yield TeacherAnswer(
            kind=kind,
            id=item,
            text=words.text,
            lines=(lines[item],),
            neighbours=tuple(lines[other] for other in neighbours[item]),
            source=SOURCE,
        )


def _read(items: list[str]) -> int:
    return len(items) - len(items) // LEFT_OUT


def _ratings(dataset: Dataset) -> dict[tuple[str, str], float]:
    table = dataset.interactions
    users, items, weights = (table[name].to_pylist() for name in ("user_id", "item_id", "weight"))
    rows: Any = zip(users, items, weights, strict=True)
    return {(user, item): float(weight) for user, item, weight in rows}
