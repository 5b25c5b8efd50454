"""Whether a difference is one: over seeds, and over users.

Two questions are kept apart. The deviation over seeds says how much a figure moves when training is
repeated; the paired test over users says whether the users at hand are better served, or whether
as many others would have shown the opposite. A claim needs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over repetitions.

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
        """Summarises one value a seed.

        Raises:
            ValueError: There are none.
        """
        if not len(values):
            raise ValueError("there are no values to summarise")
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), deviation, len(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one model does against another on the same users.

    Attributes:
        difference: Mean over users of new minus old.
        low: Lower end of the confidence interval of the difference.
        high: Its upper end.
        p: Two-sided probability of so large a difference if there were none.
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

    With a thousand users the mean is normal for all practical purposes, and the same statistic
    gives the interval. Among the tests in use it keeps its error rates best (Urbano, Lima and
    Hanjalic, SIGIR 2019); Wilcoxon's asks about medians, which for Recall are often 0 (Smucker,
    Allan and Carterette, CIKM 2007, advise against it). `randomisation` is the check without
    an assumption on the distribution.

    Args:
        new: (n_users,) or (n_seeds, n_users). Seeds are averaged first, for each user: repeating
            a training makes no new users.
        old: Like `new`, the same users in the same order; the number of seeds may differ.
        level: Of the confidence interval.

    Raises:
        ValueError: The users are not the same number, or less than two.
    """
    differences = _differences(new, old)
    n = len(differences)
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / n**0.5
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
    return Comparison(mean, mean - half, mean + half, p, n)


def randomisation(
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    rounds: int = 10_000,
) -> float:
    """Returns p of Fisher's paired randomisation test: signs of the differences are drawn anew.

    The smallest p that can come out is 1 / (rounds + 1), as the observed signs are one of the
    possible draws.

    Args:
        new: As for `paired`.
        old: As for `paired`.
        rng: Draws the signs.
        rounds: How often.

    Raises:
        ValueError: As for `paired`.
    """
    differences = _differences(new, old)
    differences = differences[differences != 0]  # their sign changes nothing
    observed = abs(differences.sum()) * (1 - 1e-12)  # another order of summing is no difference
    extreme = 0
    for _ in range(rounds):
        signs = rng.integers(0, 2, len(differences), np.int8) * 2 - 1
        extreme += int(abs(signs @ differences) >= observed)
    return (extreme + 1) / (rounds + 1)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Returns p-values adjusted for all being looked at together (Holm 1979).

    Below 0.05, the chance of even one false claim among all of them is below 0.05, whatever the
    dependence between the tests; never less powerful than Bonferroni's.
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
