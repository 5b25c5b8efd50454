from __future__ import annotations

from services.profiles.generation.grammar import parse
from training.data.filters.rarity import rarest


def _user(*phrases: str) -> str:
    return f"User identity: {', '.join(phrases[:3])}; User interests: {', '.join(phrases[3:])}."


STOCK = ("movie buff", "comedy lover", "drama fan", "watching films", "slow drama", "good comedy")
USERS = [
    _user(*STOCK),
    _user(
        "Movie buff", "comedy lover", "night nurse", "watching films", "old westerns", "good comedy"
    ),
    _user(*STOCK[:5], "courtroom farce"),
    _user(
        "retired pilot", "model builder", "war archivist", "dogfights", "engine noise", "lost maps"
    ),
]
ITEM = (
    "Item identity: movie buff, comedy lover, drama fan, parent, student; Item interests: comedy, "
    "romance, music, dance, food."
)


def test_the_blandest_go_first() -> None:
    profiles = [parse("user", text) for text in USERS]
    assert rarest(profiles, 1.0) == [True] * 4
    assert rarest(profiles, 0.75) == [False, True, True, True]
    assert rarest(profiles, 0.5) == [False, True, False, True]
    assert rarest(profiles, 0.25) == [False, False, False, True]


def test_each_kind_is_counted_and_kept_by_itself() -> None:
    profiles = [*(parse("user", text) for text in USERS), parse("item", ITEM)]
    assert rarest(profiles, 0.5) == [False, True, False, True, False]
    assert rarest(profiles, 0.75) == [False, True, True, True, True]
