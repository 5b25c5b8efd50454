"""Biased matrix factorisation, with embeddings by fusion.

Koren, Bell, Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 42
(8), 2009, equation 4: mu + b_u + b_i + q_i . p_u. As published every item has a bias of its own. In
RecLM's code it is computed from the item's embedding, so that a new item has one as well, but it
is no more than an offset of all users' vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from recommenders.losses import bce, bpr
from recommenders.models.formulas import numbers, side_by_side
from recommenders.models.fusion import FusionConfig, linear
from recommenders.models.gradient import FusedModel
from recommenders.models.terms import FactorTerms, NewUser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from recommenders.models.base import ModelConfig
    from recommenders.models.gradient import Batch


class BiasMFConfig(FusionConfig):
    """Options of BiasMF.

    Attributes:
        loss: `bpr`, as in RecLM, or `bce`.
        item_bias: An item's bias: linear in its embedding (`features`, as in RecLM's code), a number
            of its own (`ids`, as published; 0 for a new item), or `none` (as in Rendle et al., UAI
            2009, section 4.3.1, and RecBole's BPR).
    """

    loss: Literal["bpr", "bce"] = "bpr"
    item_bias: Literal["features", "ids", "none"] = "features"


class BiasMF(FusedModel[BiasMFConfig]):
    """Scores by inner product plus the item's bias and, with `bce`, the user's and the global one.

    BPR compares items of one user, so the user's bias and the global bias cancel out; if they were
    kept, rounding errors would move them. With `bce` the global bias is the logit of the mean, which
    is learnt, where Koren et al. take the mean of the ratings.
    """

    name: ClassVar[str] = "bias_mf"
    config_type: ClassVar[type[ModelConfig]] = BiasMFConfig

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the first embeddings and the biases."""
        super().make_parts(generator)
        kind, pointwise = self.config.item_bias, self.config.loss == "bce"
        self.item_bias: nn.Linear | None = None
        if kind == "features":
            self.item_bias = linear(self.config.embedding_size, 1, generator, bias=False)
        # A table of one column, which no gradient reaches where an item has no interactions.
        self.own_bias = nn.Parameter(torch.zeros(self.inputs.n_items)) if kind == "ids" else None
        self.user_bias = nn.Parameter(torch.zeros(self.inputs.n_users)) if pointwise else None
        self.global_bias = nn.Parameter(torch.zeros(1)) if pointwise else None

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns the BPR loss or the binary cross-entropy."""
        users, items = self.in_training(generator)
        users = functional.embedding(batch.users, users)
        items = torch.cat([items, self._biases(items)[:, None]], dim=1)
        positive, negative = (
            _pairs(users, functional.embedding(rows, items))
            for rows in (batch.positives, batch.negatives)
        )
        if self.user_bias is None:
            return {"bpr": bpr(positive, negative)}
        bias = self.user_bias[batch.users]
        return {"bce": bce(positive + bias, negative + bias)}

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores; the bias of a user without training interactions is 0."""
        scores = self._scored(self.first(users, known))
        return scores if self.user_bias is None else scores + self.user_bias[users, None]

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores; a new user's bias is 0."""
        return self._scored(self.first_of_new_users(known, profiles))

    def terms(self) -> FactorTerms:
        """As in `HasTerms`; a user's bias, if there is one, is an additional dimension."""
        with torch.no_grad():
            self.make_ready()
            items, users = numbers(self._items), numbers(self._users)
            bias = numbers(self._biases(self._items))
            folded = numbers(self._items @ self._fold_in.map)
        new_user = NewUser.inputs()
        ids = self._fold_in.formula(new_user.pooled, new_user.count)
        tower = self.fusion.formula(ids, new_user)
        if self.user_bias is not None:
            items = np.concatenate([items, np.ones_like(items[:, :1])], axis=1)
            users = np.concatenate([users, numbers(self.user_bias)[:, None]], axis=1)
            tower = side_by_side(tower, new_user.count * 0)
        return FactorTerms(
            item_vectors=items,
            item_bias=bias,
            history_vectors=folded,
            user_vectors=users,
            tower=tower,
            profile_dimension=self.fusion.profile_dimension,
        )

    def _scored(self, vectors: Tensor) -> Tensor:
        scores: Tensor = vectors @ self._items.T
        scores += self._biases(self._items)
        return scores

    def _biases(self, items: Tensor) -> Tensor:
        """Returns the items' biases plus the global one, (n_items,)."""
        if self.item_bias is not None:
            biases: Tensor = self.item_bias(items)[:, 0]
        elif self.own_bias is not None:
            biases = self.own_bias
        else:
            biases = items.new_zeros(len(items))
        return biases if self.global_bias is None else biases + self.global_bias


def _pairs(users: Tensor, items: Tensor) -> Tensor:
    """Returns inner products plus the items' biases, which are the last column of `items`."""
    return (users * items[:, :-1]).sum(dim=1) + items[:, -1]
