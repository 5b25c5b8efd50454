"""The few contributions that are named as reasons for an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from reclm_client.schemas.score import Interest, PastItem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

C = TypeVar("C", PastItem, Interest)

FEW = 3
"""Most past items, and most interests, that are named as reasons for an item."""


def highest(
    make: Callable[[str, float], C], contributions: Vector, names: Sequence[str], least: Vector
) -> list[tuple[C, ...]]:
    """Returns the few highest contributions to each item.

    Args:
        make: Makes a contribution of a name and a number.
        contributions: Shape (len(names), items).
        names: The names of what contributes.
        least: Shape (items,): the bound that a contribution must exceed.
    """
    order = np.argsort(-contributions, axis=0, kind="stable")[:FEW]
    values = np.take_along_axis(contributions, order, axis=0)
    return [
        tuple(
            make(names[place], value)
            for place, value in zip(positions, column, strict=True)
            if value > bound
        )
        for positions, column, bound in zip(
            order.T.tolist(), values.T.tolist(), least.tolist(), strict=True
        )
    ]
