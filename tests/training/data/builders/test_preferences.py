"""Preference pairs: the shares of corruptions, and three disjoint parts of the users."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from services.profiles.generation.grammar import NotAProfile, parse
from tests.training.data.made import READING, kept, words
from training.data.builders.corruptions import SHARES, Shares, corrupt
from training.data.builders.preferences import Preferences, preference_rows
from training.data.errors import InstructionDataError
from training.data.filters.answers import Kept

USERS = [f"u{number}" for number in range(100)]
NEAR = {name: [USERS[number - 1], USERS[number - 2]] for number, name in enumerate(USERS)}


def build(**options: object) -> Preferences:
    profiles = [kept(name, ["Heat (1995) | Crime"]) for name in USERS]
    return preference_rows(profiles, NEAR, READING, **{"seed": 0, **options})  # type: ignore[arg-type]


def test_users_are_divided_and_in_one_part_each() -> None:
    rows = build().rows
    assert {name: len(part) for name, part in rows.items()} == {
        "reward-train": 40,
        "reward-eval": 20,
        "rl": 40,
    }
    assert sorted(row["id"] for part in rows.values() for row in part) == sorted(USERS)


def test_each_corruption_is_as_frequent_as_its_share() -> None:
    found = Counter(row["corruption"] for row in build().rows["reward-train"])
    assert found == {kind: round(share * 40) for kind, share in SHARES.items()}
    only = build(shares={"neighbour": 0.5, "full stop": 0.5}).rows["reward-eval"]
    assert Counter(row["corruption"] for row in only) == {"neighbour": 10, "full stop": 10}


def test_counts_are_rounded_to_the_largest_remainder() -> None:
    drawn = Shares(SHARES).draw(7, np.random.default_rng(0))
    # 2.1, 2.1 and four times 0.7: three of the four get the rest.
    assert sorted(Counter(drawn).values()) == [1, 1, 1, 2, 2]
    assert Shares(SHARES).draw(0, np.random.default_rng(0)) == []


def test_chosen_is_the_user_s_own_and_rejected_is_not() -> None:
    rows = build().rows["reward-train"]
    assert rows
    for row in rows:
        own, near = words(row["id"]), words(NEAR[row["id"]][0])
        assert row["chosen"] == [{"role": "assistant", "content": own.text}]
        (rejected,) = row["rejected"]
        assert rejected["content"] == corrupt(row["corruption"], own, near) != own.text


def test_the_prompts_of_reinforcement_come_with_what_rewards_need() -> None:
    row = build().rows["rl"][0]
    assert row["lines"] == ["Heat (1995) | Crime"]
    assert row["neighbours"] == [words(name).text for name in NEAR[row["id"]]]
    assert row["reference"] == words(row["id"]).text
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("neighbour", "User identity: d, e, f; User interests: x, y, z."),
        (
            "run together",
            (
                "User identity: a, b, c; User interests: u, v, w. "
                "User identity: d, e, f; User interests: x, y, z."
            ),
        ),
        ("identity only", "User identity: a, b, c."),
        ("identity repeated", "User identity: a, b, c; User interests: a, b, c."),
        ("empty template", "User identity: , , ; User interests: , , ."),
        ("full stop", "."),
    ],
)
def test_a_corruption_reads(kind: str, text: str) -> None:
    own = parse("user", "User identity: a, b, c; User interests: u, v, w.")
    near = parse("user", "User identity: d, e, f; User interests: x, y, z.")
    assert corrupt(kind, own, near) == text
    if kind != "neighbour":
        with pytest.raises(NotAProfile):
            parse("user", text)


def test_a_neighbour_with_the_same_profile_is_passed_over() -> None:
    same = [kept("a", ["Heat"]), kept("b", ["Heat"]), kept("c", ["Heat"])]
    same[1] = Kept(same[1].answer, same[0].words)
    near = {"a": ["b", "c"], "b": ["a", "c"], "c": ["a"]}
    parts = {"reward-train": 0.0, "reward-eval": 0.0, "rl": 1.0}
    first, *_ = preference_rows(same, near, READING, parts=parts, seed=0).rows["rl"]
    assert first["neighbours"] == [words("c").text]


def test_users_without_another_s_profile_are_counted() -> None:
    lone = [kept("a", ["Heat"]), kept("b", ["Heat"]), kept("c", [""])]
    built = preference_rows(lone, {"a": ["b", "a"], "b": ["nobody"]}, READING, seed=0)
    assert built.counts["no neighbour with another profile"] == 1
    assert built.counts["nothing readable"] == 1
    with pytest.raises(InstructionDataError, match="no user is left"):
        preference_rows(lone, {}, READING, seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"shares": {"neighbour": 0.5}},
        {"shares": {"neighbour": 1.5, "full stop": -0.5}},
        {"shares": {"typo": 1.0}},
        {"shares": {}},
        {"parts": {"reward-train": 0.5, "reward-eval": 0.5, "rl": 0.5}},
        {"parts": {"rl": 1.0}},
    ],
)
def test_shares_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InstructionDataError):
        build(**options)
