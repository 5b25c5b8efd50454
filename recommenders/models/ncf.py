"""Neural collaborative filtering in RecLM's form; `neumf` has the published one.

NeuMF (He et al., WWW 2017, equations 10 to 12) with what RecLM's code leaves of it: both branches
read the same embeddings (equation 11), and there is one hidden layer. Its weights act on users and
items separately, so that scoring all pairs needs no concatenated input for each pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from torch.nn import functional

from recommenders.losses import bce, bpr
from recommenders.models.fusion import FusionConfig, linear
from recommenders.models.gradient import FusedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from recommenders.models.base import ModelConfig
    from recommenders.models.gradient import Batch

_CHUNK = 2**21
"""Values of the hidden layer that are in memory at a time while all items are scored."""


class NCFConfig(FusionConfig):
    """Options of NCF.

    Attributes:
        loss: `bpr`, as in RecLM, or `bce`, as in the original publication.
    """

    loss: Literal["bpr", "bce"] = "bpr"


class NCF(FusedModel[NCFConfig]):
    """Scores by a weighted product of the embeddings plus a hidden layer over both."""

    name: ClassVar[str] = "ncf"
    config_type: ClassVar[type[ModelConfig]] = NCFConfig

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the first embeddings, the hidden layer in two halves, and the output layer."""
        super().make_parts(generator)
        size = self.config.embedding_size
        self.of_users = linear(size, size, generator)
        self.of_items = linear(size, size, generator)
        self.product_output = linear(size, 1, generator, bias=False)
        self.hidden_output = linear(size, 1, generator, bias=False)

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns the BPR loss or the binary cross-entropy."""
        users, items = self.in_training(generator)
        users = functional.embedding(batch.users, users)
        hidden_users = self.of_users(users)
        positive, negative = (
            self._output(users, hidden_users, chosen, self.of_items(chosen))
            for chosen in (
                functional.embedding(batch.positives, items),
                functional.embedding(batch.negatives, items),
            )
        )
        if self.config.loss == "bpr":
            return {"bpr": bpr(positive, negative)}
        return {"bce": bce(positive, negative)}

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores, computed for some users at a time."""
        return self._scored(self.first(users, known))

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores, computed for some users at a time."""
        return self._scored(self.first_of_new_users(known, profiles))

    def _scored(self, first: Tensor) -> Tensor:
        hidden_users, hidden_items = self.of_users(first), self.of_items(self._items)
        scores = (first * self.product_output.weight) @ self._items.T
        rows = max(1, _CHUNK // max(1, hidden_items.numel()))
        for start in range(0, len(first), rows):
            part = slice(start, start + rows)
            hidden = functional.relu(hidden_users[part, None] + hidden_items)
            scores[part] += self.hidden_output(hidden).squeeze(2)
        return scores

    def _output(
        self, users: Tensor, hidden_users: Tensor, items: Tensor, hidden_items: Tensor
    ) -> Tensor:
        hidden = functional.relu(hidden_users + hidden_items)
        scores: Tensor = self.product_output(users * items) + self.hidden_output(hidden)
        return scores.squeeze(-1)
