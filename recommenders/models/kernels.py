"""Similarity of items by their descriptions: the mean of a kernel over several descriptions.

Each description (words of the text, words of the profile, their vectors) has its own kernel, the
cosine; the mean of kernels is a kernel. Text and profile can therefore differ in length and
vocabulary, and an item that lacks one still has the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

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
    """The mean of cosines.

    Attributes:
        descriptions: (n_items, any width) each; rows have length 1, or are zeros for a missing description.
    """

    descriptions: tuple[sparse.csr_array | NDArray[np.float32], ...]

    @classmethod
    def of(cls, inputs: Inputs, variant: Variant) -> Self:
        """Reads the items' text, and for `augmented` also their profiles.

        Of each the words are read if the inputs have them, otherwise the vectors.

        Raises:
            ModelError: The inputs lack what the variant reads.
        """
        found: dict[str, sparse.csr_array | NDArray[np.float32] | None] = {
            "text": _first(inputs.text_words, inputs.text)
        }
        if variant == "augmented":
            found["profiles"] = _first(inputs.profile_words, inputs.item_profiles)
        for name, description in found.items():
            if description is None:
                raise ModelError(f"{variant}: items have no {name}, neither words nor vectors")
        return cls(tuple(_scaled(each) for each in found.values() if each is not None))

    def between(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the similarity of items, (len(rows), len(columns)), from -1 to 1."""
        total = np.zeros((len(rows), len(columns)), np.float32)
        for each in self.descriptions:
            total += product(each[rows], each[columns])
        total /= len(self.descriptions)
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


def _scaled(
    description: sparse.csr_array | NDArray[np.float32],
) -> sparse.csr_array | NDArray[np.float32]:
    if sparse.issparse(description):
        lengths = np.sqrt(np.asarray(description.multiply(description).sum(axis=1)).ravel())
        scale = np.repeat(np.where(lengths > 0, lengths, 1), np.diff(description.indptr))
        data = (description.data / scale).astype(np.float32)
        parts = data, description.indices, description.indptr
        return sparse.csr_array(parts, shape=description.shape)
    norms = np.linalg.norm(description, axis=1, keepdims=True)
    return (description / np.where(norms > 0, norms, 1)).astype(np.float32)
