"""SimGCL (Yu et al., SIGIR 2022): LightGCN, and noise in place of SGL's views of the graph.

A node's two noisy embeddings should agree, among those of the other nodes of the batch. As in
RecLM's code, and unlike the first publication, a node's own embedding is one of the layers: a new
item, which has no neighbours, would have none otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

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
    """

    noise: float = Field(0.9, ge=0)
    temperature: float = Field(0.1, gt=0)
    contrast_weight: float = Field(0.01, ge=0)


class SimGCL(GraphModel[SimGCLConfig]):
    """LightGCN with a contrast between two noisy embeddings of a node."""

    name: ClassVar[str] = "simgcl"
    config_type: ClassVar[type[ModelConfig]] = SimGCLConfig

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns BPR's loss and the contrast among the nodes of the batch."""
        first = self.in_training(generator)
        (users, items), (other_users, other_items) = (
            self.graph.propagate(
                *first, self.config.layers, noise=self.config.noise, generator=generator
            )
            for _ in range(2)
        )
        contrast = self._contrast(users, other_users, batch.users) + self._contrast(
            items, other_items, batch.positives
        )
        return {
            "bpr": self.ranking_loss(batch, *self.spread(*first)),
            "contrast": self.config.contrast_weight * contrast,
        }

    def _contrast(self, view: Tensor, other: Tensor, rows: Tensor) -> Tensor:
        nodes = torch.unique(rows)
        targets = torch.arange(len(nodes), device=nodes.device)
        return info_nce(view[nodes], other[nodes], targets, temperature=self.config.temperature)
