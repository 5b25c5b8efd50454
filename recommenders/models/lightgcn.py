"""LightGCN (He et al., SIGIR 2020): embeddings spread over the graph, and nothing else.

Where items have features, RecLM ranks by the items' first embeddings, which new items have too,
against the users' spread ones; ids may be added to them. Where items are ids alone, both are
spread, as first published.
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
        layers: How many steps embeddings are spread.
    """

    layers: int = Field(2, ge=1)


G = TypeVar("G", bound=LightGCNConfig)


class GraphModel(HasGraph, FusedModel[G]):
    """What LightGCN and the models upon it share: the graph, scores, and new users."""

    def make_parts(self, generator: torch.Generator) -> None:
        """Makes the first embeddings and the graph."""
        super().make_parts(generator)
        self.graph = Graph.of(self.inputs.train)

    def spread(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what scores are inner products of, for all users and all items."""
        layers = self.config.layers
        if self.config.items == "ids":
            return self.graph.propagate(users, items, layers)
        return self.graph.propagate_users(users, items, layers), items

    def ranking_loss(self, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
        """Returns BPR's loss of a batch by what `spread` returned."""
        chosen = functional.embedding(batch.users, users)
        positive = (chosen * functional.embedding(batch.positives, items)).sum(dim=1)
        negative = (chosen * functional.embedding(batch.negatives, items)).sum(dim=1)
        return bpr(positive, negative)

    def prepare(self) -> None:
        """Works out the spread embeddings, and what the items hand on to a new user."""
        super().prepare()
        self._final_users, self._final_items = self.spread(self._users, self._items)
        layers = self.config.layers
        self._joining = GraphFoldIn(self.graph, self._users, self._items, layers)

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores; a new user is a further node of the graph."""
        vectors = self._final_users[users]
        cold = is_cold(users, self.inputs.train)
        if cold.size:
            positions, rows = torch.from_numpy(cold).to(users.device), known[cold]
            vectors[positions] = self._joining.spread(self.first(users[positions], rows), rows)
        return vectors @ self._final_items.T

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores; a stranger is a further node of the graph."""
        first = self.first_of_new_users(known, profiles)
        return self._joining.spread(first, known) @ self._final_items.T

    def terms(self) -> FactorTerms:
        """As in `HasTerms`; a past item adds to the id part, and hands on what it does as a node."""
        with torch.no_grad():
            self.make_ready()
            added = torch.cat([self._items @ self._fold_in.map, self._joining.handed], dim=1)
        size, new_user = self._items.shape[1], NewUser.asked()
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
    """Scores by inner product of what spreading has made of the embeddings."""

    name: ClassVar[str] = "lightgcn"
    config_type: ClassVar[type[ModelConfig]] = LightGCNConfig

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns BPR's loss."""
        users, items = self.spread(*self.in_training(generator))
        return {"bpr": self.ranking_loss(batch, users, items)}
