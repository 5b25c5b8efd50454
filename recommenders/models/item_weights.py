"""What models with item-to-item weights share: a score is a sum of weights of the known items.

A user is represented by their known items, so new users are scored like all others, and only the
mean of the training users is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from recommenders.models.base import ModelConfig, check_new_users, check_scoring
from recommenders.models.errors import ModelError
from recommenders.models.files import opened, write_folder
from recommenders.models.terms import WeightTerms

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse


class WeightsConfig(ModelConfig):
    """Options that such models have in common.

    Attributes:
        prior_weight: Multiple of the mean score over training users that is added to the scores.
            The sum over clicks grows with their number, so this matters most for users with few
            clicks; with 0, as published, a single click outweighs popularity.
    """

    prior_weight: float = Field(0.0, ge=0)


class ItemWeights:
    """Scores are known @ weights + prior_weight * prior.

    Attributes:
        name: Its name in the registry.
        config_type: The class of its options.
        config: The options.
        rows: The items that have weights, ascending.
        weights: (len(rows), n_items), the weights of these items for every item.
        prior: (n_items,), the mean score over training users, which users without known items get.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[WeightsConfig]]

    def __init__(
        self,
        config: WeightsConfig,
        *,
        n_users: int,
        rows: NDArray[np.int64],
        weights: NDArray[np.float32],
        prior: NDArray[np.float32],
    ) -> None:
        self.config = config
        self.rows = rows
        self.weights = weights
        self.prior = prior
        self._n_users = n_users

    @classmethod
    def from_weights(
        cls,
        config: WeightsConfig,
        train: sparse.csr_array,
        rows: NDArray[np.int64],
        weights: NDArray[np.float32],
    ) -> Self:
        """Returns the model with these weights, which were computed from `train`."""
        counts = np.bincount(train.indices, minlength=train.shape[1])[rows]
        shares = (counts / np.count_nonzero(np.diff(train.indptr))).astype(np.float32)
        return cls(
            config, n_users=train.shape[0], rows=rows, weights=weights, prior=shares @ weights
        )

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """As in `Recommender`; training users are scored by `known` as well."""
        check_scoring(users, known, self._n_users, self.weights.shape[1])
        return self.new_user_scores(known)

    def new_user_scores(
        self,
        known: sparse.csr_array,
        profiles: NDArray[np.float32] | None = None,  # noqa: ARG002 - the protocol's; not read
    ) -> NDArray[np.float32]:
        """As in `ScoresNewUsers`."""
        check_new_users(known, self.weights.shape[1])
        useful = known[:, self.rows]
        scores: NDArray[np.float32] = useful @ self.weights
        if self.config.prior_weight:
            scores += np.float32(self.config.prior_weight) * self.prior
        scores[np.diff(useful.indptr) == 0] = self.prior
        return scores

    def terms(self) -> WeightTerms:
        """As in `HasTerms`; items without weights have rows of zeros."""
        n_items = self.weights.shape[1]
        weights = np.zeros((n_items, n_items), np.float32)
        weights[self.rows] = self.weights
        bias = np.float32(self.config.prior_weight) * self.prior
        return WeightTerms(item_weights=weights, item_bias=bias, prior=self.prior)

    def save(self, folder: Path) -> None:
        """As in `Recommender`."""
        info = {"name": self.name, "config": self.config.model_dump(), "n_users": self._n_users}
        arrays: dict[str, NDArray[Any]] = {
            "rows": self.rows,
            "weights": self.weights,
            "prior": self.prior,
        }
        write_folder(folder, info, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As in `Recommender`."""
        with opened(folder, cls.name) as (info, arrays):
            config = cls.config_type.model_validate(info["config"])
            rows, weights, prior = arrays["rows"], arrays["weights"], arrays["prior"]
            n_users = int(info["n_users"])
        return cls(config, n_users=n_users, rows=rows, weights=weights, prior=prior)


def warm_items(train: sparse.csr_array) -> NDArray[np.int64]:
    """Returns the items with training interactions, ascending.

    Raises:
        ModelError: There are none.
    """
    rows = np.unique(train.indices).astype(np.int64)
    if not rows.size:
        raise ModelError("there are no training interactions to learn from")
    return rows
