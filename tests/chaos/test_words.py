from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.profiles.generation.grammar import is_phrase
from tests.chaos.words import read, spell


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=4))
def test_numbers_are_read_again_from_a_phrase(numbers: list[int]) -> None:
    phrase = f"record {spell(*numbers)}"
    assert is_phrase(phrase)
    assert read(phrase) == [tuple(numbers)]


def test_a_damaged_word_is_no_other_word() -> None:
    word = spell(17, 3, 5)
    others = {
        word[:place] + letter + word[place + 1 :]
        for place in range(len(word))
        for letter in "bcdfgh"
    } - {word}
    assert len(others) > 50
    assert [other for other in others if read(other)] == []


def test_all_words_of_a_text_are_found() -> None:
    assert read(f"- Record {spell(1, 0)} | Shelf {spell(2)}, and no x at all") == [(1, 0), (2,)]
