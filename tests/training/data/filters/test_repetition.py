from __future__ import annotations

import pytest

from services.profiles.generation.grammar import parse
from training.data.filters.repetition import repetitive

PLAIN = (
    "User identity: film buff, patient viewer, night owl; User interests: slow drama, jazz, spies."
)


def _repetitive(*texts: str) -> list[bool]:
    return repetitive([parse(text.split()[0].lower(), text) for text in texts])


@pytest.mark.parametrize("other", ["slow drama", "jazzy bars", "film buffet", "a spy film"])
def test_words_that_only_resemble_are_no_repetition(other: str) -> None:
    assert _repetitive(PLAIN.replace("slow drama", other)) == [False]


@pytest.mark.parametrize("echo", ["Drama", "slow dramas", "drama that is Slow", "Viewers"])
def test_a_phrase_within_another_repeats_it_whatever_its_case_number_and_order(echo: str) -> None:
    assert _repetitive(PLAIN.replace("spies", echo), PLAIN.replace("night owl", echo)) == [True] * 2


def test_an_identity_that_is_as_often_an_interest_is_one() -> None:
    odd = PLAIN.replace("night owl", "Travel")
    liked = PLAIN.replace("spies", "travel")
    assert _repetitive(odd, PLAIN) == [False, False]
    assert _repetitive(odd, odd, liked) == [False, False, False]
    assert _repetitive(odd, odd, liked, liked) == [True, True, False, False]


def test_kinds_are_counted_apart() -> None:
    item = (
        "Item identity: parent, student, pilot, nurse, cook; "
        "Item interests: night owl, romance, music, dance, {}."
    )
    assert _repetitive(PLAIN, item.format("food")) == [False, False]
    assert _repetitive(PLAIN, item.format("dance music")) == [False, True]
