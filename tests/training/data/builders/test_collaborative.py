"""Collaborative conversations: one item hidden, asked about, and never given away."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.training.data.made import READING, words
from training.data.builders.collaborative import (
    NOT_SHARED,
    NOTHING_LACKED,
    TOO_SHORT,
    collaborative_rows,
)
from training.data.builders.distillation import Reading

FILMS = [f"f{number}" for number in range(12)]
LINES = {film: f"{film.upper()} | Drama" for film in FILMS}


def histories(users: int = 60) -> dict[str, list[str]]:
    rng = np.random.default_rng(3)
    return {f"u{number}": rng.permutation(FILMS)[:8].tolist() for number in range(users)}


def build(seed: int = 0, reading: Reading = READING) -> tuple[list, Counter]:
    chosen = histories()
    profiles = {name: words(name) for name in chosen}
    near = {name: [other for other in chosen if other != name] for name in chosen}
    built = collaborative_rows(profiles, chosen, LINES, near, reading, similar=2, seed=seed)
    return list(built.rows), Counter(built.counts)


def listed(text: str) -> list[str]:
    return [line[2:] for line in text.splitlines() if line.startswith("- ")]


def test_the_hidden_item_is_asked_for_and_not_in_the_user_s_history() -> None:
    rows, _ = build()
    assert len(rows) > 20
    for row in rows:
        own, *others = row["messages"][1]["content"].split("Similar user")
        asked = LINES[row["item"]]
        assert asked not in listed(own)
        assert any(asked in listed(other) for other in others)
        assert listed(row["messages"][3]["content"]) == [asked]
        assert (row["item"] in histories()[row["id"]]) == (row["answer"] == "Yes")


def test_half_of_the_answers_are_yes() -> None:
    rows, _ = build()
    answers = Counter(row["answer"] for row in rows)
    assert len(rows) > 20
    assert abs(answers["Yes"] - answers["No"]) <= 1
    assert all(row["messages"][4]["content"] == row["answer"] for row in rows)


def test_the_first_answer_is_the_profiles_of_the_user_and_of_those_shown() -> None:
    rows, _ = build()
    assert len(rows) > 20
    for row in rows:
        assert [turn["role"] for turn in row["messages"]] == [
            *("system", "user", "assistant", "user", "assistant"),
        ]
        profiles = row["messages"][2]["content"].splitlines()
        assert profiles == [words(name).text for name in (row["id"], *row["neighbours"])]
        assert row["messages"][1]["content"].count("Similar user ") == len(row["neighbours"]) == 2


def test_a_seed_makes_the_same_and_another_seed_others() -> None:
    assert build(1) == build(1)
    assert build(1) != build(2)


def test_what_is_not_shown_of_a_neighbour_is_not_asked_about() -> None:
    rows, counts = build(reading=Reading(count=len, history_tokens=10_000, max_items=2))
    assert rows
    assert counts[NOT_SHARED] > 30
    for row in rows:
        _, *others = row["messages"][1]["content"].split("Similar user")
        assert all(len(listed(other)) == 2 for other in others)
        assert any(LINES[row["item"]] in listed(other) for other in others)


def test_those_of_whom_no_conversation_can_be_made_are_counted() -> None:
    chosen = {"short": ["f1"], "same": ["f1", "f2"], "like": ["f2", "f1"], "apart": ["f3", "f4"]}
    near = {"short": ["same"], "same": ["like"], "like": ["apart"], "apart": []}
    profiles = {name: words(name) for name in chosen}
    built = collaborative_rows(profiles, chosen, LINES, near, READING, similar=2, seed=0)
    assert not built.rows
    found = {reason: count for reason, count in built.counts.items() if count}
    assert found == {
        TOO_SHORT: 1,
        NOTHING_LACKED: 1,
        NOT_SHARED: 1,
        "no similar user with a profile": 1,
    }


@pytest.mark.parametrize("seed", range(3))
def test_neither_answer_can_be_told_from_the_number_of_films_shown(seed: int) -> None:
    rows, _ = build(seed)
    assert {row["answer"] for row in rows} == {"Yes", "No"}
    sizes = {(row["answer"], len(listed(row["messages"][1]["content"]))) for row in rows}
    assert {size for _, size in sizes} == {7 + 8 + 8}
