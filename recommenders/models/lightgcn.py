"""LightGCN (He et al., SIGIR 2020): embeddings propagated over the graph.

If items have features, RecLM scores with the first embeddings of items, which new items have as
well, and the propagated embeddings of users. If items have ids only, both are propagated, as in the
original publication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from recommenders.losses import bpr
from recommenders.models.folding import GraphFoldIn, is_cold
from recommenders.models.formulas import numbers
from recommenders.models.fusion import FusionConfig
from recommenders.models.gradient import FusedModel
from recommenders.models.graph import Graph, HasGraph
from recommenders.models.terms import FactorTerms, NewUser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from recommenders.models.base import ModelConfig
    from recommenders.models.gradient import Batch


class LightGCNConfig(FusionConfig):
    """Options of LightGCN.

    Attributes:
        layers: Number of propagation layers.
        regularisation: lambda of equation 15, over the first embeddings of a batch's users, positives
            and negatives: half their squares, as a mean over interactions. 1e-4 in the published
            code of LightGCN and SGL; 0 in RecLM's, which has the trainer's `weight_decay` alone.
    """

    layers: int = Field(2, ge=1)
    regularisation: float = Field(0.0, ge=0)


G = TypeVar("G", bound=LightGCNConfig)


class GraphModel(HasGraph, FusedModel[G]):
    """What LightGCN and the models based on it share: the graph, scores and new users."""

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the first embeddings and the graph."""
        super().make_parts(generator)
        self.graph = Graph.of(self.inputs.train)

    @property
    def own_layer(self) -> bool:
        """Whether a node's own embedding is one of the layers."""
        return True

    def spread(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the final embeddings of all users and items; scores are their inner products."""
        layers = self.config.layers
        if self.config.items == "ids":
            return self.graph.propagate(users, items, layers, own_layer=self.own_layer)
        return self.graph.propagate_users(users, items, layers), items

    def ranking_loss(self, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
        """Returns the BPR loss of a batch from the final embeddings."""
        chosen = functional.embedding(batch.users, users)
        positive = (chosen * functional.embedding(batch.positives, items)).sum(dim=1)
        negative = (chosen * functional.embedding(batch.negatives, items)).sum(dim=1)
        return bpr(positive, negative)

    def regulariser(self, batch: Batch, users: Tensor, items: Tensor) -> Mapping[str, Tensor]:
        """Returns the penalty on a batch's first embeddings, if there is one.

        Args:
            batch: The batch.
            users: First embeddings, (n_users, d).
            items: First embeddings, (n_items, d).
        """
        weight = self.config.regularisation
        if not weight:
            return {}
        rows = (users[batch.users], items[batch.positives], items[batch.negatives])
        squares = torch.stack([each.float().square().sum() for each in rows]).sum()
        return {"regulariser": weight / 2 * squares / len(batch)}

    def prepare(self) -> None:
        """Computes the final embeddings, and the items' messages to a new user."""
        super().prepare()
        self._final_users, self._final_items = self.spread(self._users, self._items)
        layers = self.config.layers
        self._joining = GraphFoldIn(
            self.graph, self._users, self._items, layers, own_layer=self.own_layer
        )

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores; a new user is an additional node of the graph."""
        vectors = self._final_users[users]
        cold = is_cold(users, self.inputs.train)
        if cold.size:
            positions, rows = torch.from_numpy(cold).to(users.device), known[cold]
            vectors[positions] = self._joining.spread(self.first(users[positions], rows), rows)
        return vectors @ self._final_items.T

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores; a new user is an additional node of the graph."""
        first = self.first_of_new_users(known, profiles)
        return self._joining.spread(first, known) @ self._final_items.T

    def terms(self) -> FactorTerms:
        """As in `HasTerms`; a known item adds to the id embedding, and its message as a neighbour."""
        with torch.no_grad():
            self.make_ready()
            added = torch.cat([self._items @ self._fold_in.map, self._joining.handed], dim=1)
        size, new_user = self._items.shape[1], NewUser.inputs()
        ids = self._fold_in.formula(new_user.pooled.columns(0, size), new_user.count)
        first = self.fusion.formula(ids, new_user)
        handed = new_user.pooled.columns(size, 2 * size)
        items = numbers(self._final_items)
        return FactorTerms(
            item_vectors=items,
            item_bias=np.zeros(len(items), np.float32),
            history_vectors=numbers(added),
            user_vectors=numbers(self._final_users),
            tower=self._joining.formula(first, handed, new_user.count),
            profile_dimension=self.fusion.profile_dimension,
        )


class LightGCN(GraphModel[LightGCNConfig]):
    """Scores by the inner product of propagated embeddings."""

    name: ClassVar[str] = "lightgcn"
    config_type: ClassVar[type[ModelConfig]] = LightGCNConfig

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns the BPR loss and the regulariser."""
        first = self.in_training(generator)
        loss = self.ranking_loss(batch, *self.spread(*first))
        return {"bpr": loss, **self.regulariser(batch, *first)}
