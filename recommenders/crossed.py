"""Chance over users, items and seeds together: a bootstrap of crossed factors.

A figure is a mean over cells: one for each relevant item of a user, in each seed. Cells of one user
resemble each other, and so do those of one item and those of one seed. A test over users alone
takes an item that everybody wants, or a training that went well, for thousands of observations.

`compare` resamples users, items and seeds independently, with replacement, and weights a cell by
the product of the three counts. This is the pigeonhole bootstrap of Owen (Annals of Applied
Statistics 1, 2007, section 4), the resampling counterpart of the clustering in several ways of
Cameron, Gelbach and Miller (Journal of Business & Economic Statistics 29, 2011). Its variance is
that of each factor, and more than that of what two factors do together, so it errs on the side of
"nothing shown" (Owen's theorem 3). No bootstrap of crossed factors is exact (McCullagh, Bernoulli 6, 2000).

Few seeds need care. The counts of a factor with n levels vary by (n - 1) / n of what they should, so
deviations from 1 are widened by the root of n / (n - 1); and the interval is Student's, with the
degrees of freedom of Satterthwaite (Biometrics 2, 1946). Three seeds that disagree have two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse, stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ROUNDS = 1_000
"""Resamples: the standard error is known to about 2 %."""

POWER = 0.8
_COLUMNS = 64
"""Resamples at a time, so that the memory does not grow with their number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """Differences of two models, one for each relevant item of a user in a seed.

    Attributes:
        users: Number of the user, from 0, (cells,).
        items: Number of the item, likewise.
        seeds: Number of the seed, likewise.
        shares: The cell's share of its user's ideal list; those of a user in a seed add up to 1.
        differences: What the item adds to the user's metric, the new model less the old, (cells,).
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    seeds: NDArray[np.int64]
    shares: NDArray[np.float64]
    differences: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """A difference, and how far chance may have moved it.

    Attributes:
        difference: The mean over users and seeds, new minus old.
        error: Its standard error over users, items and seeds.
        freedom: Degrees of freedom of the error.
        users: Number of users.
        items: Number of relevant items.
        seeds: Number of seeds.
    """

    difference: float
    error: float
    freedom: float
    users: int
    items: int
    seeds: int

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference."""
        if self.error == 0:
            return float(self.difference == 0)
        return float(2 * stats.t.sf(abs(self.difference) / self.error, self.freedom))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Returns the ends of the confidence interval."""
        if self.error == 0:
            return self.difference, self.difference
        reach = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error
        return self.difference - reach, self.difference + reach

    def showable(self, tests: int = 1, *, power: float = POWER, level: float = 0.05) -> float:
        """Returns the smallest true difference that a test would show with this power.

        It is (t(1 - level / (2 tests)) + t(power)) times the error, at the strictest of Holm's levels.

        Args:
            tests: Number of tests that the p-values are adjusted for.
            power: The probability to show it.
            level: The level of the tests together.
        """
        if self.error == 0:
            return 0.0
        critical = stats.t.ppf(1 - level / (2 * max(1, tests)), self.freedom)
        return float(critical + stats.t.ppf(power, self.freedom)) * self.error


def compare(cells: Cells, *, seed: int = 0, rounds: int = ROUNDS) -> Chance:
    """Estimates a difference and its chance.

    Items are resampled although a list ranks them against each other, and although a user's ideal
    list has a length. This is an approximation in two points. The ranks stay as they are, so that
    an item that is drawn twice does not push down others. And the metric of a resample is a ratio,
    sum of weight times difference over sum of weight times share: a user's ideal is divided equally
    over the user's relevant items. For recall that is exact, for NDCG at k it is so up to the
    change of the ideal list with its length.

    Args:
        cells: The differences.
        seed: Of the resamples: the same cells and seed give the same result.
        rounds: Number of resamples.

    Returns:
        The difference with its error; with one seed the error does not include that of training.

    Raises:
        ValueError: There are no cells, or fewer than two users.
    """
    sizes = [_levels(numbers) for numbers in (cells.users, cells.items, cells.seeds)]
    if not len(cells.users) or sizes[0] < 2:
        raise ValueError(
            f"a comparison needs relevant items of at least two users, not of {sizes[0]}"
        )
    total = float(cells.shares.sum())
    difference = float(cells.differences.sum()) / total
    # What is left of each cell: its sum is 0, so that only its spread over levels matters.
    rest = cells.differences - difference * cells.shares
    parts = [
        _component(rest, of, size) / total**2
        for of, size in zip(_factors(cells), sizes, strict=True)
    ]
    # Rounding errors of equal differences are no spread.
    if sum(parts) ** 0.5 <= 1e-12 * max(1.0, abs(difference)):
        return _chance(difference, 0.0, np.inf, sizes)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True) if size > 1
    )
    found = _resampled(cells, sizes, np.random.default_rng(seed), rounds)
    return _chance(difference, float(found.std(ddof=1)), max(1.0, freedom), sizes)


def standard_error(cells: Cells) -> float:
    """Returns the standard error over users and items, without resampling, for quick choices.

    It is the root of the sum of both factors' variances, which is what the bootstrap tends to
    where no two factors act together.
    """
    total = float(cells.shares.sum())
    rest = cells.differences - cells.differences.sum() / total * cells.shares
    parts = [_component(rest, of, _levels(of)) for of in (cells.users, cells.items)]
    return float(np.sqrt(sum(parts))) / total


def numbered(values: ArrayLike) -> NDArray[np.int64]:
    """Returns a number for each value from 0 up, the same for equal values."""
    _, numbers = np.unique(np.asarray(values), return_inverse=True)
    return numbers.astype(np.int64).ravel()


def _chance(difference: float, error: float, freedom: float, sizes: list[int]) -> Chance:
    users, items, seeds = sizes
    return Chance(
        difference=difference, error=error, freedom=freedom, users=users, items=items, seeds=seeds
    )


def _factors(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    return cells.users, cells.items, cells.seeds


def _levels(numbers: NDArray[np.int64]) -> int:
    return int(numbers.max()) + 1 if len(numbers) else 0


def _component(rest: NDArray[np.float64], numbers: NDArray[np.int64], size: int) -> float:
    """Returns the variance of the sum of `rest` over levels of one factor; 0 for one level."""
    if size < 2:
        return 0.0
    sums = np.bincount(numbers, rest, minlength=size)
    return float(sums @ sums) * size / (size - 1)


def _resampled(
    cells: Cells, sizes: list[int], rng: np.random.Generator, rounds: int
) -> NDArray[np.float64]:
    """Returns the difference in each resample, (rounds,)."""
    users, items, seeds = sizes
    gains, shares = [], []
    for number in range(seeds):
        here = np.flatnonzero(cells.seeds == number)
        place = (cells.users[here], cells.items[here])
        some = here[cells.differences[here] != 0]
        changed = cells.users[some], cells.items[some]
        gains.append(sparse.csr_array((cells.differences[some], changed), shape=(users, items)))
        shares.append(sparse.csr_array((cells.shares[here], place), shape=(users, items)))
    results = []
    for start in range(0, rounds, _COLUMNS):
        columns = min(_COLUMNS, rounds - start)
        of_users, of_items, of_seeds = (_counts(size, columns, rng) for size in sizes)
        above = np.zeros(columns)
        below = np.zeros(columns)
        for number in range(seeds):
            for total, matrix in ((above, gains[number]), (below, shares[number])):
                of_user = np.asarray(matrix @ of_items)
                total += of_seeds[number] * (of_user * of_users).sum(axis=0)  # noqa: PLW2901 - in place
        results.append(above / below)
    return np.concatenate(results)


def _counts(size: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns how often each level is drawn in each resample, widened; (size, columns)."""
    if size < 2:
        return np.ones((size, columns))
    drawn = rng.integers(0, size, (size, columns)) + size * np.arange(columns)
    counts = np.bincount(drawn.ravel(), minlength=size * columns).reshape(columns, size).T
    widened: NDArray[np.float64] = 1 + (counts - 1) * np.sqrt(size / (size - 1))
    return widened
