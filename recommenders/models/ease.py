"""EASE: weights of all items that predict each other item best, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from recommenders.models.dense import invert, product, refuse_beyond
from recommenders.models.item_weights import ItemWeights, WeightsConfig, warm_items

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.models.base import Inputs


class EASEConfig(WeightsConfig):
    """Options of EASE.

    Attributes:
        regularisation: Added to the diagonal of the items' Gram matrix; lambda of the paper.
        damping: The weight of a user of n interactions is n^(-2 damping), scaled so that the
            trace of the Gram matrix stays; 0 as in the paper.
        max_gib: Limit on the memory of the matrices of items x items.
    """

    regularisation: float = Field(500.0, gt=0)
    damping: float = Field(0.0, ge=0)
    max_gib: float = Field(8.0, gt=0)


class EASE(ItemWeights):
    """EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019).

    Items without training interactions have no weights: their scores are 0, for everybody.
    """

    name = "ease"
    config_type = EASEConfig

    @classmethod
    def fit(cls, inputs: Inputs, config: EASEConfig) -> Self:
        """Solves for the weights.

        Time grows with the cube of the number of items that have training interactions, memory
        with the square: 4 bytes for each pair of them, and as much again for each pair of one of
        them and any item.

        Raises:
            ModelError: It would take more memory than allowed, or there are no interactions.
        """
        rows = warm_items(inputs.train)
        values = len(rows) * (len(rows) + inputs.n_items)
        refuse_beyond(config.max_gib, values, f"EASE of {len(rows)} items")
        solved = ease_weights(
            inputs.train[:, rows], regularisation=config.regularisation, damping=config.damping
        )
        return cls.from_weights(config, inputs.train, rows, spread(solved, rows, inputs.n_items))


def ease_weights(
    train: sparse.csr_array, *, regularisation: float, damping: float
) -> NDArray[np.float32]:
    """Returns B of equation 8 of the paper: P = (X'X + lambda I)^-1, B_ij = -P_ij / P_jj, B_jj = 0.

    Args:
        train: X, CSR of float32, (n_users, n_items).
        regularisation: lambda.
        damping: As in `EASEConfig`.

    Returns:
        (n_items, n_items); row i has the weights of item i for the others.
    """
    gram = _gram(train, damping)
    gram[np.diag_indices_from(gram)] += regularisation
    weights = invert(gram)
    weights /= -weights.diagonal().copy()
    np.fill_diagonal(weights, 0)
    return weights


def spread(
    weights: NDArray[np.float32], columns: NDArray[np.int64], n_items: int
) -> NDArray[np.float32]:
    """Returns a matrix of n_items columns with the weights in these columns, zeros elsewhere."""
    if weights.shape[1] == n_items:
        return weights
    result = np.zeros((len(weights), n_items), np.float32)
    result[:, columns] = weights
    return result


def _gram(train: sparse.csr_array, damping: float) -> NDArray[np.float32]:
    lengths = np.diff(train.indptr).astype(np.float64)
    weights = np.where(lengths > 0, np.maximum(lengths, 1) ** (-2 * damping), 0)
    weights *= lengths.sum() / (lengths * weights).sum()
    scaled = train.T.tocsr() @ sparse.diags_array(weights.astype(np.float32)).tocsr()
    return product(scaled, train.T.tocsr())
