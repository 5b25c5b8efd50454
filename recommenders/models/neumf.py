"""NeuMF as published: He et al., "Neural collaborative filtering", WWW 2017, equation 12.

Two branches with embeddings of their own: generalised matrix factorisation (equation 9) and layers
over the concatenated embeddings (equation 10); the output layer reads both. The first layer acts on
users and items separately, so that scoring all pairs needs no concatenated input for each pair.
Trained from random parameters, not from trained branches (section 3.4.1).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from recommenders.losses import bce, bpr
from recommenders.models.fusion import FusionConfig, linear
from recommenders.models.gradient import FusedModel, GradientModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from recommenders.models.base import ModelConfig
    from recommenders.models.gradient import Batch

_CHUNK = 2**21
"""Values of the widest layer that are in memory at a time while all items are scored."""


class NeuMFConfig(FusionConfig):
    """Options of NeuMF.

    Attributes:
        fusion: `add` by default. After the ReLU of `concat` the embedding of an average user, who has
            not clicked yet, is zeros in most dimensions, whatever the profile says.
        hidden_layers: Sizes of the layers, each followed by a ReLU.
        negatives: Negatives of each interaction; the paper takes 4 (section 4.1).
        dropout: Probability that an input of a layer is dropped in training; 0 in the paper.
        loss: `bce` (equation 7), or `bpr`.
    """

    fusion: Literal["concat", "add"] = "add"
    hidden_layers: tuple[int, ...] = Field((64, 32, 16), min_length=1)
    negatives: int = Field(4, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    loss: Literal["bce", "bpr"] = "bce"


class NeuMF(GradientModel[NeuMFConfig]):
    """Scores by a weighted product of embeddings plus layers over other embeddings.

    Attributes:
        factors: The embeddings of the product.
        deep: The embeddings that the layers read.
    """

    name: ClassVar[str] = "neumf"
    config_type: ClassVar[type[ModelConfig]] = NeuMFConfig

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates both branches, the first layer in two halves, the others, and the output layer."""
        self.factors: FusedModel[NeuMFConfig] = FusedModel(self.inputs, self.config, generator)
        self.deep: FusedModel[NeuMFConfig] = FusedModel(self.inputs, self.config, generator)
        size, sizes = self.config.embedding_size, self.config.hidden_layers
        self.of_users = linear(size, sizes[0], generator)
        self.of_items = linear(size, sizes[0], generator, bias=False)
        self.layers = nn.ModuleList(
            linear(before, after, generator) for before, after in itertools.pairwise(sizes)
        )
        self.product_output = linear(size, 1, generator, bias=False)
        self.hidden_output = linear(sizes[-1], 1, generator)

    @property
    def negatives(self) -> int:
        """Number of negatives that are drawn for each interaction."""
        return self.config.negatives

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Computes the replacements of dropped ids in both branches."""
        self.factors.begin_epoch(generator)
        self.deep.begin_epoch(generator)

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns the binary cross-entropy, or the BPR loss averaged over negatives."""
        items = torch.cat([batch.positives[:, None], batch.negatives.view(len(batch), -1)], dim=1)
        users, chosen = self.factors.in_training(generator)
        product = functional.embedding(batch.users, users)[:, None] * functional.embedding(
            items, chosen
        )
        users, chosen = self.deep.in_training(generator)
        first = self.of_users(self._dropped(functional.embedding(batch.users, users), generator))
        hidden = first[:, None] + self.of_items(
            self._dropped(functional.embedding(items, chosen), generator)
        )
        scores = (self.product_output(product) + self._through(hidden, generator)).squeeze(2)
        if self.config.loss == "bce":
            return {"bce": bce(scores[:, 0], scores[:, 1:])}
        return {"bpr": bpr(scores[:, :1], scores[:, 1:])}

    def prepare(self) -> None:
        """Computes the first embeddings of both branches, and fits the folding in of new users."""
        self.factors.prepare()
        self.deep.prepare()

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores, computed for some users at a time."""
        return self._scored(self.factors.first(users, known), self.deep.first(users, known))

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores, computed for some users at a time."""
        return self._scored(
            self.factors.first_of_new_users(known, profiles),
            self.deep.first_of_new_users(known, profiles),
        )

    def _scored(self, factors: Tensor, deep: Tensor) -> Tensor:
        scores = (factors * self.product_output.weight) @ self.factors.first_items.T
        users, items = self.of_users(deep), self.of_items(self.deep.first_items)
        rows = max(1, _CHUNK // max(1, len(items) * max(self.config.hidden_layers)))
        for start in range(0, len(users), rows):
            part = slice(start, start + rows)
            scores[part] += self._through(users[part, None] + items).squeeze(2)
        return scores

    def _through(self, hidden: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns the output of the layers, (..., 1), for sums of the first layer's halves."""
        hidden = functional.relu(hidden)
        for layer in self.layers:
            hidden = functional.relu(layer(self._dropped(hidden, generator)))
        output: Tensor = self.hidden_output(hidden)
        return output

    def _dropped(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        """Returns values with dropout, from this generator; without one they stay as they are."""
        share = self.config.dropout
        if generator is None or not share:
            return values
        draws = torch.rand(values.shape, generator=generator, device=values.device)
        return values * (draws >= share) / (1 - share)
