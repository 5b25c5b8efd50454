"""Biased matrix factorisation (Koren et al., 2009, equation 4), with embeddings by fusion.

The bias of an item is computed from its embedding, so that a new item has one as well.
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
    """

    loss: Literal["bpr", "bce"] = "bpr"


class BiasMF(FusedModel[BiasMFConfig]):
    """Scores by inner product plus the item's bias and, with `bce`, the user's.

    BPR compares items of one user, so the user's bias and the global bias cancel out; if they were
    kept, rounding errors would move them.
    """

    name: ClassVar[str] = "bias_mf"
    config_type: ClassVar[type[ModelConfig]] = BiasMFConfig

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the first embeddings and the biases."""
        super().make_parts(generator)
        self.item_bias = linear(self.config.embedding_size, 1, generator, bias=False)
        pointwise = self.config.loss == "bce"
        self.user_bias = nn.Parameter(torch.zeros(self.inputs.n_users)) if pointwise else None

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns the BPR loss or the binary cross-entropy."""
        users, items = self.in_training(generator)
        users = functional.embedding(batch.users, users)
        items = torch.cat([items, self.item_bias(items)], dim=1)
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
            bias = numbers(self.item_bias(self._items)[:, 0])
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
        scores += self.item_bias(self._items).T
        return scores


def _pairs(users: Tensor, items: Tensor) -> Tensor:
    """Returns inner products plus the items' biases, which are the last column of `items`."""
    return (users * items[:, :-1]).sum(dim=1) + items[:, -1]
