"""iALS: implicit matrix factorisation by alternating least squares, in closed form for each side.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, with the
loss and the regularisation of Rendle, Krichene, Zhang, Koren, "Revisiting the performance of iALS on
item recommendation benchmarks", RecSys 2022, where it is as good as anything newer once it is tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from recommenders.models.base import ModelConfig, check_new_users, check_scoring
from recommenders.models.errors import ModelError
from recommenders.models.files import opened, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.models.base import Inputs

_BLOCK = 2**22
"""Numbers of gathered vectors or of Gram matrices in memory at a time."""


class IALSConfig(ModelConfig):
    """Options of iALS; what is worth searching is the weight, the regularisation and the iterations.

    Attributes:
        factors: Dimension of a vector.
        unobserved_weight: alpha_0: what a pair that was not seen weighs beside one that was.
        regularisation: lambda.
        exponent: nu: each vector's penalty is lambda times its frequency to this power; 1 is that of
            the RecSys 2022 paper, 0 the unscaled one of the ICDM 2008 paper.
        iterations: How often both sides are solved.
        initial_deviation: Of the first vectors, whose numbers have this over the square root of the
            dimension.
    """

    factors: int = Field(64, ge=1)
    unobserved_weight: float = Field(0.1, gt=0)
    regularisation: float = Field(0.003, gt=0)
    exponent: float = Field(1.0, ge=0)
    iterations: int = Field(16, ge=1)
    initial_deviation: float = Field(0.1, gt=0)


class IALS:
    """Scores by the inner product of vectors that minimise a weighted squared error over all pairs.

    L_S + alpha_0 L_I + lambda R of the RecSys 2022 paper, section 3: L_S is the sum over pairs seen of
    (1 - w_u . h_i)^2, L_I that over all pairs of (w_u . h_i)^2, and R is sum_u f_u^nu |w_u|^2 +
    sum_i f_i^nu |h_i|^2 with f_u = |items of u| + alpha_0 |items|, and f_i likewise. An item without
    interactions has a vector of zeros.

    Attributes:
        config: The options.
        items: (n_items, d).
        users: (n_users, d); zeros for users without training interactions.
        average: The mean vector of training users, which a user without known items gets.
        warm: Whether a user has training interactions, (n_users,).
    """

    name = "ials"
    config_type = IALSConfig

    def __init__(
        self,
        config: IALSConfig,
        *,
        items: NDArray[np.float32],
        users: NDArray[np.float32],
        warm: NDArray[np.bool_],
    ) -> None:
        self.config, self.items, self.users, self.warm = config, items, users, warm
        self.average: NDArray[np.float32] = users[warm].mean(axis=0)
        self._gram = _gram(items)

    @classmethod
    def fit(cls, inputs: Inputs, config: IALSConfig, rng: np.random.Generator) -> Self:
        """Solves for the users and for the items in turn.

        Args:
            inputs: Interactions; nothing else is read.
            config: The options.
            rng: Draws the items' first vectors.

        Raises:
            ModelError: There are no interactions.
        """
        train = inputs.train
        if not train.nnz:
            raise ModelError("there are no training interactions to learn from")
        turned = train.T.tocsr()
        scale = config.initial_deviation / config.factors**0.5
        items = (rng.standard_normal((inputs.n_items, config.factors)) * scale).astype(np.float32)
        items[np.diff(turned.indptr) == 0] = 0
        for _ in range(config.iterations):
            users = solved(train, items, _gram(items), config)
            items = solved(turned, users, _gram(users), config)
        # The users' vectors belong to the items' last ones, as a new user's do.
        users = solved(train, items, _gram(items), config)
        return cls(config, items=items, users=users, warm=np.diff(train.indptr) > 0)

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """As in `Recommender`."""
        check_scoring(users, known, len(self.users), len(self.items))
        vectors = self.users[users]
        cold = np.flatnonzero(~self.warm[users])
        if cold.size:
            vectors[cold] = self.vectors(known[cold])
        return vectors @ self.items.T

    def new_user_scores(
        self,
        known: sparse.csr_array,
        profiles: NDArray[np.float32] | None = None,  # noqa: ARG002 - the protocol's; not read
    ) -> NDArray[np.float32]:
        """As in `ScoresNewUsers`."""
        check_new_users(known, len(self.items))
        return self.vectors(known) @ self.items.T

    def vectors(self, known: sparse.csr_array) -> NDArray[np.float32]:
        """Returns new users' vectors, (rows, d): the solution for their known items."""
        vectors = solved(known, self.items, self._gram, self.config)
        vectors[np.diff(known[:, self._has_vector()].indptr) == 0] = self.average
        return vectors

    def _has_vector(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.items.any(axis=1))

    def save(self, folder: Path) -> None:
        """As in `Recommender`."""
        info = {"name": self.name, "config": self.config.model_dump()}
        arrays: dict[str, NDArray[Any]] = {
            "items": self.items,
            "users": self.users,
            "warm": self.warm.astype(np.uint8),
        }
        write_folder(folder, info, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As in `Recommender`."""
        with opened(folder, cls.name) as (info, arrays):
            return cls(
                IALSConfig.model_validate(info["config"]),
                items=arrays["items"],
                users=arrays["users"],
                warm=arrays["warm"] > 0,
            )


def solved(
    matrix: sparse.csr_array,
    others: NDArray[np.float32],
    gram: NDArray[np.float64],
    config: IALSConfig,
) -> NDArray[np.float32]:
    """Returns the vectors of one side that are best for those of the other side.

    For a row with the columns C: (sum over C of h h' + alpha_0 H'H + lambda f^nu I)^-1 sum over C of h.
    It is equation 4 of the ICDM 2008 paper with the weights and the penalty of the later one.

    Args:
        matrix: CSR, (rows, columns).
        others: H, (columns, d).
        gram: H'H, (d, d).
        config: The options.

    Returns:
        (rows, d), zeros for an empty row.
    """
    counts = np.diff(matrix.indptr)
    result = np.zeros((matrix.shape[0], others.shape[1]), np.float32)
    common = config.unobserved_weight * gram
    frequency = (counts + config.unobserved_weight * matrix.shape[1]) ** config.exponent
    penalty = config.regularisation * frequency
    diagonal = np.arange(others.shape[1])
    for rows in _blocks(counts, others.shape[1]):
        longest = int(counts[rows[-1]])
        offsets = matrix.indptr[rows][:, None] + np.arange(longest)
        there = np.arange(longest) < counts[rows][:, None]
        columns = matrix.indices[np.where(there, offsets, 0)]
        vectors = others[columns].astype(np.float64) * there[:, :, None]
        left = vectors.transpose(0, 2, 1) @ vectors + common
        left[:, diagonal, diagonal] += penalty[rows][:, None]
        right = vectors.sum(axis=1)[:, :, None]
        result[rows] = np.linalg.solve(left, right)[:, :, 0]
    return result


def _blocks(counts: NDArray[np.integer], size: int) -> Iterator[NDArray[np.int64]]:
    """Yields rows that are not empty, those of similar length together."""
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        # Rows are in ascending order of length: a block is as long as its last row.
        stop, most = start + 1, len(order)
        while (
            stop < most
            and (stop + 1 - start) * size * max(int(counts[order[stop]]), size) <= _BLOCK
        ):
            stop += 1
        yield order[start:stop]
        start = stop


def _gram(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    product: NDArray[np.float64] = wide.T @ wide
    return product
