"""Similarity of a few thousand items by words or categories, without a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_WORD = re.compile(r"\b[^\W\d]\w+")
_MOST = 100  # words of a text that are read, so that the work is bounded


def words(text: str) -> list[str]:
    """Returns the first 100 words of a text in lower case, without years and other numbers.

    A word has at least two characters and does not begin with a digit, so that 1995, 1990s and 2nd
    are no words: see `alignment`.
    """
    return _WORD.findall(text.casefold())[:_MOST]


def labels(category: str) -> list[str]:
    """Returns the distinct categories of a text such as "Animation, Comedy"."""
    return sorted({label for part in category.casefold().split(",") if (label := part.strip())})


def word_vectors(texts: Sequence[str]) -> sparse.csr_array:
    """Returns TF-IDF vectors of unit length; zeros for a text without words.

    A word that is n times in a text and in d of the N texts weighs (1 + ln n) ln((1 + N) / (1 + d)),
    so that a word in all texts has weight 0 (Salton and Buckley, Term-weighting approaches in
    automatic text retrieval, 1988, with the logarithm of the frequency).
    """
    matrix = _occurrences(words(text) for text in texts)
    matrix.sum_duplicates()
    documents = np.bincount(matrix.indices, minlength=matrix.shape[1])
    rarity = np.log((1 + matrix.shape[0]) / (1 + documents))
    matrix.data = ((1 + np.log(matrix.data)) * rarity[matrix.indices]).astype(np.float32)
    return _of_length_one(matrix)


def label_vectors(categories: Sequence[str]) -> sparse.csr_array:
    """Returns vectors of unit length over categories; zeros for an item without.

    For items with one category each, the cosine is 1 if the categories are equal and 0 if not.
    """
    return _of_length_one(_occurrences(labels(category) for category in categories))


def cosines(vectors: sparse.csr_array) -> NDArray[np.float32]:
    """Returns the cosine of all pairs of rows, float32, items x items."""
    found: NDArray[np.float32] = (vectors @ vectors.T).toarray()
    return found


def _occurrences(texts: Iterable[Iterable[str]]) -> sparse.csr_array:
    numbers: dict[str, int] = {}
    columns: list[int] = []
    ends = [0]
    for tokens in texts:
        columns += [numbers.setdefault(token, len(numbers)) for token in tokens]
        ends.append(len(columns))
    ones = np.ones(len(columns), np.float32)
    return sparse.csr_array((ones, columns, ends), shape=(len(ends) - 1, max(len(numbers), 1)))


def _of_length_one(matrix: sparse.csr_array) -> sparse.csr_array:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    length = np.sqrt(np.bincount(rows, matrix.data**2, minlength=matrix.shape[0]))
    matrix.data = (matrix.data / np.where(length > 0, length, 1)[rows]).astype(np.float32)
    return matrix
