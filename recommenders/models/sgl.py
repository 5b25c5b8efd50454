"""SGL (Wu et al., SIGIR 2021): LightGCN, and two views of the graph that should agree on a node.

The variant with edge dropout (SGL-ED). As published, the views are drawn anew each epoch, not each
batch; those of RecLM's code are drawn each batch.

Regularisation: RecLM's code adds 1e-5 times the squares of all parameters, whose gradient is that
of a weight decay of 2e-5, the default here. The authors' code has 1e-4 on a batch's embeddings
(`regularisation`), with temperature 0.5, edge dropout 0.1 to 0.5 and a contrast weight up to 0.5.
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
    from recommenders.models.graph import Graph


class SGLConfig(LightGCNConfig):
    """Options of SGL; defaults as in RecLM's code.

    Attributes:
        edge_dropout: How likely an edge is left out of a view.
        temperature: Of the contrast between the views.
        contrast_weight: Of that loss beside BPR's.
    """

    edge_dropout: float = Field(0.5, ge=0, lt=1)
    temperature: float = Field(0.1, gt=0)
    contrast_weight: float = Field(0.01, ge=0)


class SGL(GraphModel[SGLConfig]):
    """LightGCN with a contrast between two views of the graph."""

    name: ClassVar[str] = "sgl"
    weight_decay: ClassVar[float] = 2e-5
    config_type: ClassVar[type[ModelConfig]] = SGLConfig

    _views: tuple[Graph, Graph]

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Draws the two views of the graph."""
        super().begin_epoch(generator)
        share = self.config.edge_dropout
        self._views = (
            self.graph.without_edges(share, generator),
            self.graph.without_edges(share, generator),
        )

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns BPR's loss, the regulariser and the contrast of each node of the batch with all of its kind."""
        first = self.in_training(generator)
        (users, items), (other_users, other_items) = (
            view.propagate(*first, self.config.layers) for view in self._views
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
        """Returns InfoNCE of the rows, each worked out once and counted as often as it is there."""
        nodes, counts = torch.unique(rows, return_counts=True)
        return info_nce(
            view[nodes], other, nodes, temperature=self.config.temperature, weights=counts
        )
