from __future__ import annotations

from math import log

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommenders.text import TfIdf, words


def test_words_are_runs_of_letters_and_digits_of_any_script() -> None:
    assert words("RecLM-2's  Straße_3, 東京!") == ["reclm", "2", "s", "strasse", "3", "東京"]
    assert words(" -- ") == []


def test_weights_are_what_they_are_by_hand() -> None:
    texts = ["apple pear", "apple apple fig", "pear apple", "kiwi"]
    found = TfIdf.of(texts)
    assert found.columns == {"apple": 0, "pear": 1}  # fig and kiwi are in one text only
    apple, pear = 1 + log(5 / 4), 1 + log(5 / 3)
    length = (apple**2 + pear**2) ** 0.5
    expected = [[apple / length, pear / length], [1, 0], [apple / length, pear / length], [0, 0]]
    np.testing.assert_allclose(found.vectors(texts).toarray(), expected, rtol=1e-6)
    twice = (1 + log(2)) * apple
    length = (twice**2 + pear**2) ** 0.5
    seen = found.vectors(["apple PEAR apple, plum"]).toarray()
    np.testing.assert_allclose(seen, [[twice / length, pear / length]], rtol=1e-6)


def test_no_text_and_no_vocabulary_give_rows_of_zeros() -> None:
    assert TfIdf.of([]).vectors(["apple", ""]).shape == (2, 0)
    assert TfIdf.of(["a", "a"]).vectors([]).shape == (0, 1)
    assert TfIdf.of(["a", "a"]).vectors(["", "b"]).nnz == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet="ab c", max_size=20), max_size=8), st.integers(1, 3))
def test_rows_have_length_one_and_do_not_depend_on_order(texts: list[str], least: int) -> None:
    found = TfIdf.of(texts, min_texts=least)
    vectors = found.vectors(texts)
    assert vectors.dtype == np.float32
    assert vectors.has_canonical_format
    lengths = np.linalg.norm(vectors.toarray(), axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-6)
    backwards = TfIdf.of(texts[::-1], min_texts=least).vectors(texts)
    np.testing.assert_array_equal(backwards.toarray(), vectors.toarray())
