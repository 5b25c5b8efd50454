from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profiles.errors import InvalidInput
from services.profiles.stores.search import from_cursor, matches, terms, to_cursor


def test_terms_are_words_without_case_and_accents() -> None:
    assert terms("The Café of \u210ceroes, Straße 7!") == {
        "the",
        "cafe",
        "of",
        "heroes",
        "strasse",
        "7",
    }
    assert terms("… — !") == set()


@given(text=st.text())
def test_terms_are_terms_of_themselves(text: str) -> None:
    found = terms(text)
    assert terms(" ".join(found)) == found
    assert all(0 < len(term) <= 40 for term in found)


@given(title=st.text(), data=st.data())
def test_each_beginning_of_each_word_finds_its_title(title: str, data: st.DataObject) -> None:
    for term in terms(title):
        prefix = term[: data.draw(st.integers(1, len(term)))]
        assert matches(title, {prefix})
        assert not matches(title, {term + "x" * 41})


@given(member=st.binary(min_size=1))
def test_a_cursor_comes_back(member: bytes) -> None:
    cursor = to_cursor(member)
    assert from_cursor(cursor) == member
    assert all(character.isalnum() or character in "-_" for character in cursor)


@given(cursor=st.text())
def test_other_text_is_no_cursor(cursor: str) -> None:
    try:
        member = from_cursor(cursor)
    except InvalidInput:
        return
    assert to_cursor(member) == cursor


@pytest.mark.parametrize("cursor", ["", "a", "YQ==", "Y!Q"])
def test_a_cursor_that_was_not_given_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        from_cursor(cursor)
