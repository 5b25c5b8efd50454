"""Inputs of a scorer, in rows of the bundle, and the ranking that it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reclm_client.schemas.score import KnownBy, ScoredItem


@dataclass(frozen=True, slots=True, eq=False)
class Interests:
    """Phrases of a profile, each with its own vector.

    Attributes:
        vectors: Shape (len(phrases), profile_dimension), float32.
    """

    phrases: Sequence[str]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """The user to score items for, and what to return; items and users are rows of the bundle.

    Attributes:
        user: The row of a user in the training data, None for others.
        clicks: Other items that the user chose, oldest first, without repetition.
        profile: Shape (profile_dimension,): the profile's vector; None for none.
        interests: For the reasons; None for none.
        exclude: Items that must not be returned, besides those that the user chose.
        withdrawn: Shape (n,), intp: items that must neither be returned nor named in reasons.
        candidates: The items that may be returned; None for all.
        reasons: Compute the contributions to each score.
    """

    user: int | None
    clicks: Sequence[int]
    profile: NDArray[np.float32] | None
    interests: Interests | None
    exclude: Sequence[int]
    candidates: Sequence[int] | None
    k: int
    reasons: bool
    withdrawn: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))


@dataclass(frozen=True, slots=True)
class Ranking:
    """Items, best first, and what the scores are based on."""

    known_by: KnownBy
    items: list[ScoredItem]
