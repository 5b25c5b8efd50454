"""TF-IDF vectors of texts, for closed-form models and for checks of data.

Forty lines with scipy instead of scikit-learn, which nothing else here needs: words of every script,
a vocabulary from training items only and a fixed order of columns are shorter to write than to
configure.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Returns the runs of letters and digits, case folded: `RecLM-2's` has reclm, 2 and s."""
    return _WORD.findall(text.casefold())


class TfIdf:
    """A vocabulary with the inverse document frequency of each word.

    A word that occurs c times in a text, and in d of n texts, has a weight of
    (1 + ln c) (1 + ln((1 + n) / (1 + d))) (Salton and Buckley 1988, smoothed); rows are scaled to
    length 1.

    Attributes:
        columns: Word -> column; alphabetical, so that the same texts give the same matrix.
    """

    def __init__(self, columns: dict[str, int], rarity: np.ndarray) -> None:
        self.columns = columns
        self._rarity = rarity

    @classmethod
    def of(cls, texts: Iterable[str], *, min_texts: int = 2) -> Self:
        """Builds the vocabulary.

        Args:
            texts: The texts of training items only, so that the weights do not depend on the test.
            min_texts: Words in fewer texts are left out; a word in one text connects no items.
        """
        n, counts = 0, Counter[str]()
        for text in texts:
            n += 1
            counts.update(set(words(text)))
        kept = sorted(word for word, count in counts.items() if count >= min_texts)
        seen = np.array([counts[word] for word in kept], np.float64)
        return cls(
            {word: column for column, word in enumerate(kept)}, 1 + np.log((1 + n) / (1 + seen))
        )

    def vectors(self, texts: Sequence[str]) -> sparse.csr_array:
        """Returns a row of length 1 for each text, or of zeros if it has no word of the vocabulary.

        Returns:
            CSR of float32, (len(texts), words).
        """
        data, indices, ends = list[float](), list[int](), [0]
        for text in texts:
            counts = Counter(
                column for word in words(text) if (column := self.columns.get(word)) is not None
            )
            indices += sorted(counts)
            data += [counts[column] for column in sorted(counts)]
            ends.append(len(indices))
        columns = np.array(indices, np.int32)
        weights = (1 + np.log(np.array(data, np.float64))) * self._rarity[columns]
        shape = len(texts), len(self.columns)
        matrix = sparse.csr_array((weights, columns, np.array(ends)), shape=shape)
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        matrix.data /= np.repeat(lengths, np.diff(matrix.indptr))
        return matrix.astype(np.float32)
