"""The terms of a model's scores: what its export for a service consists of.

A score is either the inner product of an item's vector with a user's vector, which a formula
computes, or a sum of weights of the known items. A model with other scores has no terms.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from recommenders.models.formulas import Formula, named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class NewUser:
    """The inputs of a user tower.

    Attributes:
        pooled: Sum of `FactorTerms.history_vectors` over the known items, (batch, m).
        count: Number of known items, (batch, 1).
        profile: The vector of the profile as an encoder returns it, (batch, p).
        has_profile: 1 for a user with a profile, else 0, (batch, 1).
    """

    pooled: Formula
    count: Formula
    profile: Formula
    has_profile: Formula

    @classmethod
    def inputs(cls) -> NewUser:
        """Returns the formulas of the inputs."""
        names = (each.name for each in fields(cls))
        return cls(**{name: named(name) for name in names})


@dataclass(frozen=True, kw_only=True, slots=True)
class FactorTerms:
    """score(u, i) = item_vectors[i] . vector(u) + item_bias[i].

    Attributes:
        item_vectors: Float32, (n_items, d).
        item_bias: Float32, (n_items,).
        history_vectors: What each known item adds to `pooled`, float32, (n_items, m).
        user_vectors: Vectors of the training users, float32, (n_users, d).
        tower: The vector of a new user, (batch, d).
        profile_dimension: Length of a profile's vector; 0 if none is read.
    """

    item_vectors: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    history_vectors: NDArray[np.float32]
    user_vectors: NDArray[np.float32]
    tower: Formula
    profile_dimension: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightTerms:
    """score(u, .) = sum of `item_weights` over the known items + item_bias.

    Attributes:
        item_weights: Float32, (n_items, n_items); row i has the weights of item i for every item.
        item_bias: Float32, (n_items,).
        prior: The scores for a user without known items, float32, (n_items,).
    """

    item_weights: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    prior: NDArray[np.float32]


Terms: TypeAlias = FactorTerms | WeightTerms


@runtime_checkable
class HasTerms(Protocol):
    """A model that can be exported."""

    def terms(self) -> Terms:
        """Returns the terms of its scores."""
        ...
