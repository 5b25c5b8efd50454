from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from recommenders.data.audit.resemblance import (
    cosines,
    label_vectors,
    labels,
    word_vectors,
    words,
)


def test_words_are_small_and_longer_than_a_letter() -> None:
    assert words("The X-Files, Épisode (a)") == ["the", "files", "épisode"]


def test_years_and_numbers_are_no_words() -> None:
    text = "Toy Story 2 (1999), 2nd of the 1990s, 3D, ps2 and mp3"
    assert words(text) == ["toy", "story", "of", "the", "ps2", "and", "mp3"]


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert len(words("again " * 500)) == 100


def test_labels_stand_between_commas_each_once() -> None:
    assert labels("Sci-Fi, Drama,, drama ") == ["drama", "sci-fi"]
    assert labels("") == []


def test_a_word_weighs_by_how_often_it_is_here_and_how_seldom_elsewhere() -> None:
    # Of four texts, "red" is in two and "fox" in one: ln(5/3) and ln(5/2). "fox" occurs twice.
    vectors = word_vectors(["red fox fox", "red", "hen", ""])
    red, fox = log(5 / 3), (1 + log(2)) * log(5 / 2)
    length = sqrt(red**2 + fox**2)
    assert vectors.todense()[0, :2].tolist() == pytest.approx([red / length, fox / length])
    found = cosines(vectors)
    assert found[0, 1] == pytest.approx(red / length)
    assert np.diag(found).tolist() == pytest.approx([1, 1, 1, 0])
    assert found[0, 2] == 0


def test_a_word_that_all_texts_have_makes_none_alike() -> None:
    found = cosines(word_vectors(["film red", "film blue"]))
    assert found.ravel().tolist() == pytest.approx([1, 0, 0, 1])


def test_single_categories_agree_or_not_and_several_do_in_part() -> None:
    found = cosines(label_vectors(["Drama", "drama", "Comedy", "Comedy, Drama", ""]))
    assert found[0].tolist() == pytest.approx([1, 1, 0, 1 / sqrt(2), 0])
