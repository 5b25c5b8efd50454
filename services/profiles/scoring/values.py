"""What goes into a scorer, in rows of the bundle, and the ranking that comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
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
    """Whom to score, and what of it is wanted; items and users are rows of the bundle.

    Attributes:
        user: The row of a user that training knew, None for others.
        clicks: What is known of the user besides, oldest first, none twice.
        profile: Shape (profile_dimension,): the profile's vector; None for none.
        interests: For reasons; None where they are not known.
        exclude: Not to be returned, besides what is known.
        candidates: All that may be returned; None for every item.
        reasons: Say what carried each item.
    """

    user: int | None
    clicks: Sequence[int]
    profile: NDArray[np.float32] | None
    interests: Interests | None
    exclude: Sequence[int]
    candidates: Sequence[int] | None
    k: int
    reasons: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """Items, best first, and what the scores are made from."""

    known_by: KnownBy
    items: list[ScoredItem]
