"""SimGCL (Yu et al., SIGIR 2022): LightGCN, and noise in place of SGL's views of the graph.

A node's two noisy embeddings should agree, among those of the other nodes of the batch. In the
authors' code the layers are averaged without a node's own embedding. In RecLM's code it is one of
them: a new item, which has no neighbours, would have none otherwise.

Regularisation: 1e-5 on the squares of all parameters in RecLM's code, a weight decay of 2e-5, which
is the default here; 1e-4 on a batch's embeddings in the authors' code, with noise of 0.1,
temperature 0.2 and a contrast weight of 0.5. RecLM's 0.9 and 0.01 were never searched, so grids
search both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from pydantic import Field, model_validator

from recommenders.losses import info_nce
from recommenders.models.lightgcn import GraphModel, LightGCNConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from recommenders.models.base import ModelConfig
    from recommenders.models.gradient import Batch


class SimGCLConfig(LightGCNConfig):
    """Options of SimGCL; defaults as in RecLM's code.

    Attributes:
        noise: Length of the random vector that is added to each layer's embedding.
        temperature: Of the contrast between the noisy embeddings.
        contrast_weight: Of that loss beside BPR's.
        own_layer: Whether a node's own embedding is one of the layers; false, as published, only
            with `items: ids`.
    """

    noise: float = Field(0.9, ge=0)
    temperature: float = Field(0.1, gt=0)
    contrast_weight: float = Field(0.01, ge=0)
    own_layer: bool = True

    @model_validator(mode="after")
    def _items_have_a_layer(self) -> Self:
        if not self.own_layer and self.items != "ids":
            raise ValueError(
                "own_layer false leaves new items without an embedding; it needs items: ids"
            )
        return self


class SimGCL(GraphModel[SimGCLConfig]):
    """LightGCN with a contrast between two noisy embeddings of a node."""

    name: ClassVar[str] = "simgcl"
    weight_decay: ClassVar[float] = 2e-5
    config_type: ClassVar[type[ModelConfig]] = SimGCLConfig

    @property
    def own_layer(self) -> bool:
        """Whether a node's own embedding is one of the layers."""
        return self.config.own_layer

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns BPR's loss, the regulariser and the contrast among the nodes of the batch."""
        first = self.in_training(generator)
        (users, items), (other_users, other_items) = (
            self.graph.propagate(
                *first,
                self.config.layers,
                noise=self.config.noise,
                generator=generator,
                own_layer=self.own_layer,
            )
            for _ in range(2)
        )
        contrast = self._contrast(users, other_users, batch.users) + self._contrast(
            items, other_items, batch.positives
        )
        return {
            "bpr": self.ranking_loss(batch, *self.spread(*first)),
            "contrast": self.config.contrast_weight * contrast,
            **self.regulariser(batch, *first),
        }

    def _contrast(self, view: Tensor, other: Tensor, rows: Tensor) -> Tensor:
        nodes = torch.unique(rows)
        targets = torch.arange(len(nodes), device=nodes.device)
        return info_nce(view[nodes], other[nodes], targets, temperature=self.config.temperature)
