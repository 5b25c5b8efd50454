"""Whether a difference between two models is significant, over seeds and over users.

These are two questions. The deviation over seeds says how much a figure varies when training is
repeated. The paired test over users says whether the difference could be due to the choice of
users. A claim needs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference between two models on the same users.

    Attributes:
        difference: Mean over users of new minus old.
        low: Lower end of the confidence interval of the difference.
        high: Its upper end.
        p: Two-sided p-value of the hypothesis that there is no difference.
        n: Users.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


def paired(
    new: NDArray[np.float64], old: NDArray[np.float64], *, level: float = 0.95
) -> Comparison:
    """Compares two models by Student's paired t-test over users.

    The mean over a thousand users is normally distributed for all practical purposes, and the same
    statistic gives the confidence interval. Of the usual tests this one keeps its error rates best
    (Urbano, Lima and Hanjalic, SIGIR 2019). Wilcoxon's compares medians, which are often 0 for
    recall (Smucker, Allan and Carterette, CIKM 2007, advise against it). `randomisation` assumes
    nothing about the distribution.

    Args:
        new: (n_users,) or (n_seeds, n_users). Each user's values are first averaged over seeds,
            since repeating a training adds no users.
        old: Like `new`, the same users in the same order; the number of seeds may differ.
        level: Of the confidence interval.

    Raises:
        ValueError: The numbers of users differ, or there are fewer than two.
    """
    differences = _differences(new, old)
    n = len(differences)
    mean = float(differences.mean())
    if np.ptp(differences) == 0:  # without variance the statistic is not defined
        return Comparison(mean, mean, mean, float(mean == 0), n)
    test = stats.ttest_1samp(differences, 0)
    interval = test.confidence_interval(level)
    return Comparison(mean, float(interval.low), float(interval.high), float(test.pvalue), n)


def randomisation(
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    rounds: int = 10_000,
) -> float:
    """Returns the p-value of Fisher's paired randomisation test, which redraws the differences' signs.

    The smallest possible p-value is 1 / (rounds + 1), since the observed signs count as one draw.
    `scipy.stats.permutation_test` gives the same up to the draws, but takes 35 times as long
    (docs/decisions/0019-libraries.md).

    Args:
        new: As for `paired`.
        old: As for `paired`.
        rng: Draws the signs.
        rounds: Number of draws.

    Raises:
        ValueError: As for `paired`.
    """
    differences = _differences(new, old)
    differences = differences[differences != 0]  # their sign has no effect
    observed = abs(differences.sum()) * (1 - 1e-12)  # for sums in another order
    extreme = 0
    for _ in range(rounds):
        signs = rng.integers(0, 2, len(differences), np.int8) * 2 - 1
        extreme += int(abs(signs @ differences) >= observed)
    return (extreme + 1) / (rounds + 1)


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


def _differences(new: NDArray[np.float64], old: NDArray[np.float64]) -> NDArray[np.float64]:
    means = [np.atleast_2d(values).mean(axis=0) for values in (new, old)]
    if means[0].shape != means[1].shape or len(means[0]) < 2:
        sizes = f"{len(means[0])} and {len(means[1])}"
        raise ValueError(f"a paired test needs the same two or more users, not {sizes}")
    difference: NDArray[np.float64] = means[0] - means[1]
    return difference
