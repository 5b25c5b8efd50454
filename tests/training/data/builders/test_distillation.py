"""Pairs of prompt and profile: the service's prompt, and a completion of the profile alone."""

from __future__ import annotations

from services.profiles.domain.profile import ProfileText
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import utf8_length
from tests.training.data.made import READING, kept
from training.data.builders.distillation import Reading, distillation_rows, is_held_out
from training.data.filters.answers import Kept
from training.data.prompts import turns
from training.data.teacher.answers import TeacherAnswer

LINES = ["Heat (1995) | Crime", "", "Alien (1979) | Horror"]


def test_a_user_s_row_is_the_service_s_prompt_and_the_profile() -> None:
    (row,) = distillation_rows([kept("u", LINES)], READING)
    assert row["prompt"] == turns(CURRENT.user_messages([LINES[0], LINES[2]], examples=False))
    assert row["completion"] == [{"role": "assistant", "content": kept("u", []).words.text}]
    assert (row["id"], row["kind"], row["source"]) == ("u", "user", "test")


def test_an_item_s_row_shows_its_neighbours() -> None:
    profile = ProfileText("item", ("a",) * 5, ("b",) * 5)
    answer = TeacherAnswer(
        kind="item", id="i", text="", lines=("Heat",), neighbours=("Far", "Near"), source="test"
    )
    (row,) = distillation_rows([Kept(answer, profile)], READING)
    assert row["prompt"] == turns(CURRENT.item_messages("Heat", ["Far", "Near"], examples=False))


def test_histories_are_cut_to_the_newest() -> None:
    few = Reading(count=utf8_length, history_tokens=30, max_items=50)
    (row,) = distillation_rows([kept("u", LINES)], few)
    assert row["prompt"] == turns(CURRENT.user_messages([LINES[2]], examples=False))
    one = Reading(count=utf8_length, history_tokens=1_000, max_items=1, examples=True)
    (row,) = distillation_rows([kept("u", LINES)], one)
    assert row["prompt"] == turns(CURRENT.user_messages([LINES[2]], examples=True))


def test_who_had_nothing_to_be_read_gives_no_row() -> None:
    assert not list(distillation_rows([kept("u", ["", ""])], READING))


def test_who_is_held_out_depends_on_the_id_alone() -> None:
    names = [str(number) for number in range(2_000)]
    held = [name for name in names if is_held_out("user", name, share=0.2, seed=1)]
    assert 330 < len(held) < 470
    assert held != [name for name in names if is_held_out("user", name, share=0.2, seed=2)]
    assert not any(is_held_out("user", name, share=0.0, seed=1) for name in names)
    assert all(is_held_out("user", name, share=1.0, seed=1) for name in names)
    more = {name for name in names if is_held_out("user", name, share=0.3, seed=1)}
    assert set(held) < more
