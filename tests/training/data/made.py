"""Small inputs for tests of builders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from recommenders.data.dataset import INTERACTION_COLUMNS, Dataset, DatasetInfo
from services.profiles.domain.profile import ProfileText
from services.profiles.generation.token_budget import utf8_length
from training.data.builders.distillation import Reading
from training.data.filters.answers import Kept
from training.data.teacher.answers import TeacherAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READING = Reading(count=utf8_length, history_tokens=10_000, max_items=50)


def words(name: str) -> ProfileText:
    """Returns a user's profile in which every phrase has the name."""
    identities, interests = (
        tuple(f"{name} {part} {number}" for number in ("one", "two", "three"))
        for part in ("identity", "interest")
    )
    return ProfileText("user", identities, interests)


def kept(name: str, lines: Sequence[str]) -> Kept:
    """Returns a user's profile with the lines that were read for it."""
    profile = words(name)
    answer = TeacherAnswer(
        kind="user", id=name, text=profile.text, lines=tuple(lines), source="test"
    )
    return Kept(answer, profile)


def dataset(histories: Mapping[str, Sequence[str]]) -> Dataset:
    """Returns a dataset of users' films in the order of time; a film's title is its id in capitals."""
    films = list(dict.fromkeys(film for history in histories.values() for film in history))
    items = pa.table(
        {
            "item_id": films,
            "title": [film.upper() for film in films],
            "category": ["Drama"] * len(films),
            "description": [""] * len(films),
        }
    )
    rows = [
        (user, film, time, 5.0)
        for user, history in histories.items()
        for time, film in enumerate(history)
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    info = DatasetInfo(name="tiny", source="a test", licence="none")
    return Dataset(info, items, pa.table(columns, schema=pa.schema(INTERACTION_COLUMNS)))
