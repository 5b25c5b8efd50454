"""The spread of a figure over seeds, and the adjustment of p-values for several comparisons.

Whether a difference could be chance is asked in `recommenders.crossed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and deviation of a figure over repetitions.

    Attributes:
        mean: Their mean.
        deviation: Their sample deviation (divided by n - 1); 0 for a single one.
        n: How many there are.
    """

    mean: float
    deviation: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarises values, one for each seed.

        Raises:
            ValueError: There are none.
        """
        if not len(values):
            raise ValueError("there are no values to summarise")
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), deviation, len(values))


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Returns p-values adjusted for multiple comparisons by Holm's method (1979).

    If those below 0.05 are claimed, the chance of even one false claim is below 0.05, whatever the
    dependence between the tests. The method is never less powerful than Bonferroni's, and not
    among those of `scipy.stats`.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1)
    return adjusted
