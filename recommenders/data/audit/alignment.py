"""Whether the items' texts belong to the interactions: two controls, exchanged and shifted texts.

If they do, two items that the same users choose are more similar than two items drawn at random;
recommenders that read text depend on it. If the ids of texts and interactions were mixed up, they
are not, and no other figure shows it.

The statistic is the mean cosine of the texts over pairs of neighbours: for each item the items with
the highest cosine of co-occurrence n_ij / sqrt((n_i + h) (n_j + h)), with the n_i users of an item
and h users added so that rare items do not lead by one common user (item-based collaborative
filtering: Sarwar et al., WWW 2001, with the shrinkage of Bell and Koren, ICDM 2007). Neighbours see
a taste that pairs drawn from histories do not: the titles of MovieLens-100K without their years
have z = 14 by neighbours, 1.8 by pairs of a history. Words that begin with a digit are not read:
years say when an item came out, and items of one time co-occur whatever they are.

Two controls have to be passed.

Exchanged texts. The null hypothesis: texts are exchangeable among items of similar popularity. The
share of random permutations with a mean at least as high, (1 + b) / (1 + B), is a p-value (Phipson
and Smyth, Permutation P-values should never be zero, 2010), valid for any distribution of
similarities and any dependence between pairs, since the pairs are fixed and only texts move: this
is Mantel's test (Cancer Research 27, 1967). Texts stay among items of similar popularity because
popular items may be similar to each other for reasons other than what they are.

Shifted texts. Catalogues are often in an order that means something, such as time, so that a text
fits its neighbours in the file by when it came out. So the text of each item is replaced by that of
the item 1 to 50 rows before and after, circularly. The item's own text has to fit better than each
of these. A catalogue whose rows slipped by one shows the fault by its number. Shifts by which the
texts stay nearly the same, as in a catalogue sorted by category, say nothing and are not counted.

The cost is bounded: a few thousand items, some ten thousand users with at most a hundred items
each, ten thousand pairs, and the texts within 50 rows of the sampled items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from recommenders.data.audit.counts import has_text, is_empty
from recommenders.data.audit.resemblance import cosines, label_vectors, word_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recommenders.data.dataset import Dataset
    from recommenders.data.indexed import Indexed

LEVEL = 0.01
"""Significance level: the text is aligned if p is at most this, for exchanged texts and for shifted ones."""

_LIKE = 50  # items of similar popularity among which texts are permuted
_LEAST = 50  # minimum number of items, of users and of pairs
_ADDED = 10  # h of the module's docstring
_SAME = 0.5  # mean cosine of the texts with the shifted ones, from which on a shift says nothing
_ROUNDING = 1e-7  # upper bound of rounding errors of a mean of float32 cosines

Of = Literal["text", "category"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Sample sizes of the test.

    Attributes:
        items: Number of items, drawn by popularity.
        users: Number of users, drawn uniformly.
        history: Number of items of a user, drawn uniformly.
        neighbours: Number of neighbours of an item.
        pairs: Number of pairs of neighbours, drawn uniformly; each pair counts once.
        permutations: Number of permutations; the smallest p-value is 1 / (1 + permutations).
        shifts: Highest number of rows by which texts are shifted, forwards and backwards.
        seed: Seed of the random numbers.
    """

    items: int = 3_000
    users: int = 20_000
    history: int = 100
    neighbours: int = 10
    pairs: int = 10_000
    permutations: int = 999
    shifts: int = 50
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """The result of the test for one property of the items.

    Attributes:
        of: `text` (title and description) or `category`.
        verdict: `aligned`, `not aligned`, or `untested` if the sample is too small.
        why: The reason for `untested` or `not aligned`; empty for `aligned`.
        items: Number of items in the sample.
        users: Number of users with at least two of them.
        pairs: Number of pairs of neighbours.
        observed: Mean cosine of two neighbours.
        expected: Mean of this mean over all permutations.
        deviation: Its standard deviation over the permutations.
        p: The p-value (see the module's docstring).
        shifts: Number of shifts that were compared.
        shifted: Mean of the statistic over them; 0 without any.
        best_shift: The shift with the highest statistic, in rows: the item's text was taken from
            the row this far after the item's own.
        best_shifted: The statistic there.
        shifts_as_good: Number of shifts with a statistic at least as high as the observed one.
    """

    of: Of
    verdict: Literal["aligned", "not aligned", "untested"]
    why: str = ""
    items: int = 0
    users: int = 0
    pairs: int = 0
    observed: float = 0.0
    expected: float = 0.0
    deviation: float = 0.0
    p: float = 1.0
    shifts: int = 0
    shifted: float = 0.0
    best_shift: int = 0
    best_shifted: float = 0.0
    shifts_as_good: int = 0

    @property
    def lift(self) -> float:
        """Ratio of the observed mean to the expected one."""
        return self.observed / self.expected if self.expected > 0 else float("nan")

    @property
    def z(self) -> float:
        """Distance of the observed mean from the expected one in standard deviations."""
        gap = self.observed - self.expected
        return gap / self.deviation if self.deviation > 0 else float("nan")


def text_alignment(dataset: Dataset, indexed: Indexed, sampling: Sampling) -> Alignment:
    """Tests titles and descriptions. A title that equals the item's id is not a text."""
    eligible = has_text(dataset)
    sample = _Sample(indexed, eligible, sampling)
    if why := sample.lacks("text"):
        return Alignment(of="text", verdict="untested", why=why)
    return sample.test("text", lambda rows: word_vectors(texts_of(dataset, rows)))


def category_alignment(dataset: Dataset, indexed: Indexed, sampling: Sampling) -> Alignment:
    """Tests categories; an item may have several, separated by commas."""
    eligible = ~is_empty(dataset, "category")
    sample = _Sample(indexed, eligible, sampling)
    if why := sample.lacks("a category"):
        return Alignment(of="category", verdict="untested", why=why)

    def vectors(rows: NDArray[np.int64]) -> sparse.csr_array:
        categories: list[Any] = dataset.items["category"].take(rows).to_pylist()
        return label_vectors(categories)

    return sample.test("category", vectors)


def texts_of(dataset: Dataset, rows: NDArray[np.int64] | None = None) -> list[str]:
    """Returns title and description of items, all by default; a title that is the id is left out."""
    table = dataset.items if rows is None else dataset.items.take(rows)
    columns = (table[name].to_pylist() for name in ("item_id", "title", "description"))
    return [
        f"{'' if title == name else title} {description}"
        for name, title, description in zip(*columns, strict=True)
    ]


class _Sample:
    """A sample of items, and of pairs of them that the same users chose.

    Attributes:
        items: The rows of the items, ascending.
    """

    def __init__(self, indexed: Indexed, eligible: NDArray[np.bool_], sampling: Sampling) -> None:
        self._sampling = sampling
        self._eligible = eligible
        self._rng = np.random.default_rng(sampling.seed)
        popularity = np.bincount(indexed.items, minlength=indexed.shape[1])
        rows = np.flatnonzero(eligible & (popularity > 0))
        # Without replacement, by popularity: Efraimidis and Spirakis, Weighted random sampling
        # with a reservoir, 2006, with the logarithm of their key u^(1/w).
        keys = np.log1p(-self._rng.random(len(rows))) / popularity[rows]
        self.items = np.sort(rows[np.argsort(-keys, kind="stable")[: sampling.items]])
        self._popularity = popularity[self.items]
        self._users = 0
        self._first, self._second = self._neighbours(indexed)

    def lacks(self, what: str) -> str:
        """Returns why the sample is too small; empty if it is not."""
        if len(self.items) < _LEAST:
            return f"{len(self.items)} items with interactions have {what}; {_LEAST} are needed"
        if self._users < _LEAST:
            return f"{self._users} users have two items with {what}; {_LEAST} are needed"
        if len(self._first) < _LEAST:
            return (
                f"{len(self._first)} pairs of items with {what} have two users in common; "
                f"{_LEAST} are needed"
            )
        return ""

    def test(
        self, of: Of, vectors_of: Callable[[NDArray[np.int64]], sparse.csr_array]
    ) -> Alignment:
        """Compares the texts with exchanged and with shifted ones.

        Args:
            of: What is tested.
            vectors_of: Returns the vectors of rows of the items' table, of unit length.
        """
        steps = [step for size in range(1, self._sampling.shifts + 1) for step in (-size, size)]
        rows = [(self.items + step) % len(self._eligible) for step in (0, *steps)]
        needed = np.unique(np.concatenate(rows))
        vectors = vectors_of(needed)
        own, *moved = (np.searchsorted(needed, shifted) for shifted in rows)
        cosine = cosines(vectors[own])
        observed = float(cosine[self._first, self._second].mean(dtype=np.float64))
        chance = self._exchanged(cosine)
        deviation = float(chance.std())
        if deviation <= _ROUNDING:
            why = f"the sampled items do not differ in {of}"
            return Alignment(of=of, verdict="untested", why=why)
        p = (1 + int((chance >= observed - _ROUNDING).sum())) / (1 + len(chance))
        there = self._eligible[needed]
        shifted = [self._shifted(vectors, there, own, other) for other in moved]
        compared = {
            step: value for step, value in zip(steps, shifted, strict=True) if value is not None
        }
        best = max(compared, key=compared.__getitem__, default=0)
        as_good = sum(value >= observed - _ROUNDING for value in compared.values())
        why = _reason(of, p, best, as_good, len(compared))
        return Alignment(
            of=of,
            verdict="not aligned" if why else "aligned",
            why=why,
            items=len(self.items),
            users=self._users,
            pairs=len(self._first),
            observed=observed,
            expected=float(chance.mean()),
            deviation=deviation,
            p=p,
            shifts=len(compared),
            shifted=float(np.mean(list(compared.values()))) if compared else 0.0,
            best_shift=best,
            best_shifted=compared.get(best, 0.0),
            shifts_as_good=as_good,
        )

    def _exchanged(self, cosine: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the statistic for each permutation of texts among items of similar popularity."""
        chance = np.empty(self._sampling.permutations)
        by_popularity = np.argsort(-self._popularity, kind="stable")
        stratum = np.arange(len(self.items)) // _LIKE
        exchange = np.empty_like(by_popularity)
        for number in range(len(chance)):
            order = np.lexsort((self._rng.random(len(self.items)), stratum))
            exchange[by_popularity] = by_popularity[order]
            means = cosine[exchange[self._first], exchange[self._second]]
            chance[number] = means.mean(dtype=np.float64)
        return chance

    def _shifted(
        self,
        vectors: sparse.csr_array,
        there: NDArray[np.bool_],
        own: NDArray[np.int64],
        other: NDArray[np.int64],
    ) -> float | None:
        """Returns the statistic with other rows' texts; None if they say nothing.

        Rows without a text are left out. They say nothing if too few pairs remain, or if the texts
        are nearly the same as the items' own.
        """
        same = _mean_cosine(vectors, own[there[other]], other[there[other]])
        kept = there[other[self._first]] & there[other[self._second]]
        if int(kept.sum()) < _LEAST or same >= _SAME:
            return None
        return _mean_cosine(vectors, other[self._first[kept]], other[self._second[kept]])

    def _neighbours(self, indexed: Indexed) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns pairs of rows of `items` with many users in common, each pair once."""
        sampling, rng = self._sampling, self._rng
        chosen = indexed.matrix()[:, self.items].tocsr()
        several = np.flatnonzero(np.diff(chosen.indptr) > 1)
        drawn = several[np.argsort(rng.random(len(several)), kind="stable")[: sampling.users]]
        self._users = len(drawn)
        chosen = chosen[np.sort(drawn)]
        owners = np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr))
        order = np.lexsort((rng.random(chosen.nnz), owners))
        kept = order[np.arange(chosen.nnz) - chosen.indptr[owners] < sampling.history]
        ones = np.ones(len(kept), np.float32)
        chosen = sparse.csr_array((ones, (owners[kept], chosen.indices[kept])), chosen.shape)
        users = np.asarray(chosen.sum(axis=0)).ravel() + _ADDED
        common = (chosen.T @ chosen).tocoo()
        several = (common.row != common.col) & (common.data > 1)
        one, other = common.row[several].astype(np.int64), common.col[several].astype(np.int64)
        nearness = common.data[several] / np.sqrt(users[one] * users[other])
        order = np.lexsort((other, -nearness, one))
        one, other = one[order], other[order]
        place = np.arange(len(one)) - np.searchsorted(one, one)
        near = place < sampling.neighbours
        low, high = np.minimum(one, other)[near], np.maximum(one, other)[near]
        pairs = np.unique(low * len(self.items) + high)
        pairs = pairs[np.argsort(rng.random(len(pairs)), kind="stable")[: sampling.pairs]]
        return pairs // max(len(self.items), 1), pairs % max(len(self.items), 1)


def _mean_cosine(
    vectors: sparse.csr_array, first: NDArray[np.int64], second: NDArray[np.int64]
) -> float:
    """Returns the mean cosine over pairs of rows of unit length; 0 for none."""
    return float(vectors[first].multiply(vectors[second]).sum(dtype=np.float64)) / max(
        len(first), 1
    )


def _reason(of: Of, p: float, best: int, as_good: int, shifts: int) -> str:
    """Returns why a property is not aligned; empty if it is."""
    if p > LEVEL:
        return (
            f"the {of} of items that the same users chose is no more alike than that of others "
            f"as popular, p = {p:.3f}"
        )
    if as_good:
        return (
            f"{as_good} of {shifts} shifts of the {of} by 1 to 50 rows fit as well, best the one "
            f"by {best:+d}: rows may have slipped, or what fits is the order of the file"
        )
    return ""
