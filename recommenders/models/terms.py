"""What a model's scores are made from, in its own terms: what is taken out of it to go online.

A score is either an inner product of an item's vector with one that a formula makes of a user, or
a sum of what each known item says. A model that is neither has no terms.
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
    """What a tower is told of somebody.

    Attributes:
        pooled: Sum of `FactorTerms.history_vectors` over the known items, (batch, m).
        count: How many they are, (batch, 1).
        profile: The vector of the profile as an encoder makes it, (batch, p).
        has_profile: 1 where there is one, else 0, (batch, 1).
    """

    pooled: Formula
    count: Formula
    profile: Formula
    has_profile: Formula

    @classmethod
    def asked(cls) -> NewUser:
        """Returns the inputs, each by its name."""
        names = (each.name for each in fields(cls))
        return cls(**{name: named(name) for name in names})


@dataclass(frozen=True, kw_only=True, slots=True)
class FactorTerms:
    """score(u, i) = item_vectors[i] . vector(u) + item_bias[i].

    Attributes:
        item_vectors: Float32, (n_items, d).
        item_bias: Float32, (n_items,).
        history_vectors: What each known item adds to `pooled`, float32, (n_items, m).
        user_vectors: Of the users that training knew, float32, (n_users, d).
        tower: The vector of a stranger, (batch, d).
        profile_dimension: Numbers in a profile's vector; 0 where none is read.
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
        item_weights: Float32, (n_items, n_items); row i is what item i says about each.
        item_bias: Float32, (n_items,).
        prior: The scores of somebody of whom nothing is known, float32, (n_items,).
    """

    item_weights: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    prior: NDArray[np.float32]


Terms: TypeAlias = FactorTerms | WeightTerms


@runtime_checkable
class HasTerms(Protocol):
    """A model that can go online."""

    def terms(self) -> Terms:
        """Returns what its scores are made from."""
        ...
