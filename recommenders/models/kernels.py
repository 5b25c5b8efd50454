"""Similarity of items by their descriptions: a weighted sum of the cosines of texts and of profiles.

Words of the text, words of the profile or their vectors each have their own kernel, the cosine; a
sum of kernels is a kernel. Text and profile can therefore differ in length and vocabulary, and an
item that lacks a profile still has its text. The profiles' weight is an option, since half and half
does harm where profiles say nothing (docs/decisions/0030-controls.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from scipy import sparse

from recommenders.models.dense import product, solve
from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.models.base import Inputs

Variant = Literal["base", "augmented"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A weighted sum of cosines.

    An item with a profile has sqrt(1 - w) times its text beside sqrt(w) times its profile. An item
    without one has its whole text. With a weight of 0 the kernel is that of texts.

    Attributes:
        descriptions: (n_items, any width) each; the squares of an item's rows add up to 1, or to less if
            it lacks a description.
    """

    descriptions: tuple[sparse.csr_array | NDArray[np.float32], ...]

    @classmethod
    def of(cls, inputs: Inputs, variant: Variant, profile_weight: float) -> Self:
        """Reads the items' text, and for `augmented` also their profiles.

        Of each the words are read if the inputs have them, otherwise the vectors.

        Args:
            inputs: Texts and profiles.
            variant: `base` or `augmented`.
            profile_weight: The weight w of profiles, from 0 to 1.

        Raises:
            ModelError: The inputs lack what the variant reads.
        """
        text = _first(inputs.text_words, inputs.text)
        profiles = _first(inputs.profile_words, inputs.item_profiles)
        if text is None:
            raise ModelError(f"{variant}: items have no text, neither words nor vectors")
        if variant == "base":
            return cls((_scaled(text, np.ones(inputs.n_items)),))
        if profiles is None:
            raise ModelError(f"{variant}: items have no profiles, neither words nor vectors")
        weights = np.where(_lengths(profiles) > 0, profile_weight, 0)
        parts = [_scaled(text, np.sqrt(1 - weights))]
        if profile_weight > 0:
            parts.append(_scaled(profiles, np.sqrt(weights)))
        return cls(tuple(parts))

    def between(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the similarity of items, (len(rows), len(columns)), from -1 to 1."""
        total = np.zeros((len(rows), len(columns)), np.float32)
        for each in self.descriptions:
            total += product(each[rows], each[columns])
        return total

    def regression(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], regularisation: float
    ) -> NDArray[np.float32]:
        """Returns (K_rr + lambda I)^-1 K_rc, the weights of kernel ridge regression.

        For targets T of the items `rows`, T @ weights are the predictions for the items `columns`.
        """
        kernel = self.between(rows, rows)
        kernel[np.diag_indices_from(kernel)] += regularisation
        return solve(kernel, self.between(rows, columns))


def _first(
    words: sparse.csr_array | None, vectors: NDArray[np.float32] | None
) -> sparse.csr_array | NDArray[np.float32] | None:
    return vectors if words is None else words


def _lengths(description: sparse.csr_array | NDArray[np.float32]) -> NDArray[np.float32]:
    if sparse.issparse(description):
        squares = np.asarray(description.multiply(description).sum(axis=1)).ravel()
        return np.asarray(np.sqrt(squares), np.float32)
    return np.asarray(np.linalg.norm(description, axis=1), np.float32)


def _scaled(
    description: sparse.csr_array | NDArray[np.float32], wanted: NDArray[np.floating[Any]]
) -> sparse.csr_array | NDArray[np.float32]:
    """Returns rows of the wanted lengths; rows of zeros stay."""
    lengths = _lengths(description)
    factors = wanted / np.where(lengths > 0, lengths, 1)
    if sparse.issparse(description):
        data = (description.data * np.repeat(factors, np.diff(description.indptr))).astype(
            np.float32
        )
        parts = data, description.indices, description.indptr
        return sparse.csr_array(parts, shape=description.shape)
    return (description * factors[:, None]).astype(np.float32)
