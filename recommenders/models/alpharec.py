"""AlphaRec (Sheng et al., ICLR 2025): language embeddings instead of ids, for users and items.

An item is represented by the vector of its text, a user by the mean of the vectors of the items
they chose. One small network maps both, the result is propagated over the graph, and InfoNCE on
cosines trains the network, which has the only parameters. New items and users are therefore
treated like all others. The augmented variant also reads the vectors of profiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from recommenders.losses import sampled_info_nce
from recommenders.models.base import ModelConfig
from recommenders.models.errors import ModelError
from recommenders.models.folding import GraphFoldIn, is_cold, mean_known
from recommenders.models.formulas import layers, numbers, unit
from recommenders.models.fusion import Scale, linear, profile_width, standardised
from recommenders.models.gradient import GradientModel
from recommenders.models.graph import Graph, HasGraph
from recommenders.models.terms import FactorTerms, NewUser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from recommenders.models.base import Inputs
    from recommenders.models.gradient import Batch


class AlphaRecConfig(ModelConfig):
    """Options of AlphaRec; defaults as published.

    Attributes:
        variant: `base` reads items' text only, `augmented` also profiles of users and items.
        embedding_size: Dimension of an embedding.
        layers: Number of propagation layers.
        temperature: Of InfoNCE.
        hidden_size: Width of the network's hidden layer; by default twice that of the vectors. The
            published code takes a multiple of the encoder's width that keeps the number of
            parameters: 8 for 768 numbers, 2 for 1,536, 1/2 for 3,072, 9/32 for 4,096.
        negatives: Number of a batch's negatives that each user is compared with, except those that
            the user chose. All users of the batch share them; the published code draws as many for
            each user.
    """

    variant: Literal["base", "augmented"] = "base"
    embedding_size: int = Field(64, ge=1)
    layers: int = Field(2, ge=1)
    temperature: float = Field(0.15, gt=0)
    hidden_size: int | None = Field(None, ge=1)
    negatives: int = Field(256, ge=1)


class AlphaRec(HasGraph, GradientModel[AlphaRecConfig]):
    """Scores by the cosine of propagated language embeddings.

    Attributes:
        network: Maps language vectors of users and items to embeddings.
    """

    name: ClassVar[str] = "alpharec"
    config_type: ClassVar[type[ModelConfig]] = AlphaRecConfig

    _item_vectors: Tensor
    _user_vectors: Tensor
    _user_profiles: Tensor | None

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the vectors that are read, and the network that reads them."""
        items, self._scale = _vectors(self.inputs, self.config)
        user_profiles: Tensor | None = None
        if self._scale is not None and self.inputs.user_profiles is not None:
            user_profiles = torch.from_numpy(self._scale(self.inputs.user_profiles))
        users = _of_users(mean_known(self.inputs.train, items), user_profiles)
        self.register_buffer("_item_vectors", items, persistent=False)
        self.register_buffer("_user_vectors", users, persistent=False)
        self.register_buffer("_user_profiles", user_profiles, persistent=False)
        hidden = self.config.hidden_size or 2 * items.shape[1]
        self.network = nn.Sequential(
            linear(items.shape[1], hidden, generator),
            nn.LeakyReLU(),
            linear(hidden, self.config.embedding_size, generator),
        )
        self.graph = Graph.of(self.inputs.train)

    def losses(
        self,
        batch: Batch,
        generator: torch.Generator,  # noqa: ARG002 - the protocol's; nothing here is drawn
    ) -> Mapping[str, Tensor]:
        """Returns InfoNCE of each interaction among some of the batch's negatives."""
        spread = self.graph.propagate(*self._first(), self.config.layers)
        users, items = (functional.normalize(vectors) for vectors in spread)
        chosen = functional.embedding(batch.users, users)
        positive = (chosen * functional.embedding(batch.positives, items)).sum(dim=1)
        shared = batch.negatives[: self.config.negatives]
        loss = sampled_info_nce(
            positive,
            chosen @ functional.embedding(shared, items).T,
            temperature=self.config.temperature,
            excluded=self._chosen(batch.users, shared),
        )
        return {"info_nce": loss}

    def prepare(self) -> None:
        """Computes the propagated embeddings, and the items' messages to a new user."""
        first = self._first()
        spread = self.graph.propagate(*first, self.config.layers)
        self._users, self._items = (functional.normalize(vectors) for vectors in spread)
        self._joining = GraphFoldIn(self.graph, *first, self.config.layers)

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores; a new user's vector is computed from `known` like others' from training."""
        vectors = self._users[users]
        cold = is_cold(users, self.inputs.train)
        if cold.size:
            positions = torch.from_numpy(cold).to(users.device)
            profiles = self._user_profiles
            vectors[positions] = self._joined(
                known[cold], None if profiles is None else profiles[users[positions]]
            )
        return vectors @ self._items.T

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores; a new user without a profile has the average one."""
        read = None
        if self._user_profiles is not None and self._scale is not None:
            shape = known.shape[0], self._user_profiles.shape[1]
            raw = np.zeros(shape, np.float32) if profiles is None else profiles
            read = self._scale.of_new_users(raw, shape).to(self.device)
        return self._joined(known, read) @ self._items.T

    def terms(self) -> FactorTerms:
        """As in `HasTerms`; the network's first layer is applied to each item in advance."""
        first, *others = self.network
        assert isinstance(first, nn.Linear)  # noqa: S101 - as it was made
        profiled = 0 if self._user_profiles is None else int(self._user_profiles.shape[1])
        split, width = first.in_features - profiled, first.out_features
        with torch.no_grad():
            self.make_ready()
            read = self._item_vectors[:, :split] @ first.weight[:, :split].T
            added = numbers(torch.cat([read, self._joining.handed], dim=1))
        new_user = NewUser.inputs()
        hidden = new_user.pooled.columns(0, width) / new_user.count.at_least(1)
        if profiled and self._scale is not None:
            hidden = hidden + self._scale.formula(new_user) @ numbers(first.weight[:, split:].T)
        embedded = layers(hidden + numbers(first.bias), others)
        handed = new_user.pooled.columns(width, added.shape[1])
        items = numbers(self._items)
        return FactorTerms(
            item_vectors=items,
            item_bias=np.zeros(len(items), np.float32),
            history_vectors=added,
            user_vectors=numbers(self._users),
            tower=unit(self._joining.formula(embedded, handed, new_user.count)),
            profile_dimension=profiled,
        )

    def _joined(self, known: sparse.csr_array, profiles: Tensor | None) -> Tensor:
        read = _of_users(mean_known(known, self._item_vectors), profiles)
        return functional.normalize(self._joining.spread(self.network(read), known))

    def _chosen(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns which of these items each of these users chose in training, (users, items)."""
        rows = self.inputs.train[users.cpu().numpy()][:, items.cpu().numpy()]
        return torch.from_numpy(rows.toarray() > 0).to(users.device)

    def _first(self) -> tuple[Tensor, Tensor]:
        return self.network(self._user_vectors), self.network(self._item_vectors)


def _vectors(inputs: Inputs, config: AlphaRecConfig) -> tuple[Tensor, Scale | None]:
    """Returns the vectors of the items, and the scale of the users' own profiles.

    A user is read like an item, so users' profiles are standardised by the items' statistics where
    items have profiles. By their own, the mean of a few items, which lies farther from the centre
    than that of many, would be stretched beyond everything that the network has read. None if users'
    own profiles are not read.
    """
    augmented = config.variant == "augmented"
    item_profiles = inputs.item_profiles if augmented else None
    user_profiles = inputs.user_profiles if augmented else None
    if augmented and item_profiles is None and user_profiles is None:
        raise ModelError("variant 'augmented' needs profiles, and there are none; take 'base'")
    if inputs.text is None and item_profiles is None:
        raise ModelError("alpharec reads text of items, and there is none; take another model")
    width = profile_width(item_profiles, user_profiles)
    parts = [] if inputs.text is None else [standardised(inputs.text)]
    if item_profiles is not None:
        parts.append(standardised(item_profiles))
    elif width is not None:
        parts.append(np.zeros((inputs.n_items, width), np.float32))
    items = torch.from_numpy(np.concatenate(parts, axis=1))
    if user_profiles is None:
        return items, None
    return items, Scale.of(user_profiles if item_profiles is None else item_profiles)


def _of_users(means: Tensor, profiles: Tensor | None) -> Tensor:
    """Returns the means over users' items, with users' own profiles in place of items' profiles."""
    if profiles is None:
        return means
    return torch.cat([means[:, : -profiles.shape[1]], profiles], dim=1)
