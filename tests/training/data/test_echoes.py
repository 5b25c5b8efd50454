from __future__ import annotations

import pytest

from services.profiles.grammar import parse
from training.data.echoes import echoes

PLAIN = (
    "User identity: film buff, patient viewer, night owl; User interests: slow drama, jazz, spies."
)


def test_six_different_things_are_no_echo() -> None:
    assert not echoes(parse("user", PLAIN))


@pytest.mark.parametrize("other", ["jazzy bars", "film buffet", "a spy film"])
def test_words_that_only_resemble_are_no_echo(other: str) -> None:
    assert not echoes(parse("user", PLAIN.replace("slow drama", other)))


@pytest.mark.parametrize("echo", ["Drama", "slow dramas", "drama that is Slow", "Viewers"])
def test_a_phrase_within_another_is_an_echo_whatever_its_case_number_and_order(echo: str) -> None:
    assert echoes(parse("user", PLAIN.replace("spies", echo)))
    assert echoes(parse("user", PLAIN.replace("film buff", echo)))


def test_items_are_read_too() -> None:
    text = (
        "Item identity: parent, student, pilot, nurse, cook; "
        "Item interests: comedy, romance, music, dance, {}."
    )
    assert not echoes(parse("item", text.format("food")))
    assert echoes(parse("item", text.format("dance music")))
