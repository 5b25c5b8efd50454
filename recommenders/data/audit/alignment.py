"""A permutation test of whether the items' texts belong to the interactions.

If they do, two items of one user are more similar than two items of different users; recommenders
that read text depend on it. If the ids of texts and interactions were mixed up, they are not, and no
other figure shows it.

The statistic is the mean cosine over pairs of items of one user. For each pair a user is drawn
uniformly, so that users with long histories do not dominate, and each pair counts once, so that the
most popular items do not dominate. The null hypothesis: texts are exchangeable among items of
similar popularity. Under it all permutations of texts among such items are equally likely, so the
share of random permutations with a mean at least as high, (1 + b) / (1 + B), is a p-value (Phipson
and Smyth, Permutation P-values should never be zero, 2010). The p-value is valid for any
distribution of similarities and any dependence between pairs, since the pairs are fixed and only
texts are permuted: this is Mantel's test (Cancer Research 27, 1967) of similarity against
co-occurrence in a history. Permutations stay among items of similar popularity because popular
items may be similar to each other (blockbusters of the same years, one language) and co-occur in
many histories for reasons other than their texts.

The cost is bounded: the cosines of a few thousand items are computed once, for some ten thousand
users and pairs; only two passes over the interactions (users, popularity) grow with the data. A
smaller sample reduces the power of the test, not its validity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recommenders.data.audit.counts import has_text, is_empty
from recommenders.data.audit.resemblance import cosines, label_vectors, word_vectors
from recommenders.data.indexed import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.data.dataset import Dataset
    from recommenders.data.indexed import Indexed

LEVEL = 0.01
"""Significance level: the text is aligned if p is at most this."""

_LIKE = 50  # items of similar popularity among which texts are permuted
_LEAST = 50  # minimum number of items and of users
_ROUNDING = 1e-12  # upper bound of rounding errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Sample sizes of the test.

    Attributes:
        items: Number of items, drawn by popularity.
        users: Number of users, drawn uniformly.
        pairs: Number of pairs of items of one user; duplicates count once.
        permutations: Number of permutations; the smallest p-value is 1 / (1 + permutations).
        seed: Seed of the random numbers.
    """

    items: int = 3_000
    users: int = 20_000
    pairs: int = 30_000
    permutations: int = 999
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """The result of the test for one property of the items.

    Attributes:
        of: `text` (title and description) or `category`.
        verdict: `aligned`, `not aligned`, or `untested` if the sample is too small.
        why: The reason for `untested`; empty otherwise.
        items: Number of items in the sample.
        users: Number of users with at least two of them.
        pairs: Number of distinct pairs.
        observed: Mean cosine of two items of one user.
        expected: Mean of this mean over all permutations.
        deviation: Its standard deviation over the permutations.
        p: The p-value (see the module's docstring).
    """

    of: Literal["text", "category"]
    verdict: Literal["aligned", "not aligned", "untested"]
    why: str = ""
    items: int = 0
    users: int = 0
    pairs: int = 0
    observed: float = 0.0
    expected: float = 0.0
    deviation: float = 0.0
    p: float = 1.0

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
    sample = _Sample(indexed, has_text(dataset), sampling)
    if why := sample.lacks("text"):
        return Alignment(of="text", verdict="untested", why=why)
    table = dataset.items.take(sample.items)
    columns = (table[name].to_pylist() for name in ("item_id", "title", "description"))
    texts = [
        f"{'' if title == name else title} {description}"
        for name, title, description in zip(*columns, strict=True)
    ]
    return sample.test("text", word_vectors(texts))


def category_alignment(dataset: Dataset, indexed: Indexed, sampling: Sampling) -> Alignment:
    """Tests categories; an item may have several, separated by commas."""
    sample = _Sample(indexed, ~is_empty(dataset, "category"), sampling)
    if why := sample.lacks("a category"):
        return Alignment(of="category", verdict="untested", why=why)
    categories: list[Any] = dataset.items["category"].take(sample.items).to_pylist()
    return sample.test("category", label_vectors(categories))


class _Sample:
    """A sample of items, and of pairs of them with a common user.

    Attributes:
        items: The rows of the items, ascending.
    """

    def __init__(self, indexed: Indexed, eligible: NDArray[np.bool_], sampling: Sampling) -> None:
        self._sampling = sampling
        self._rng = np.random.default_rng(sampling.seed)
        popularity = np.bincount(indexed.items, minlength=indexed.shape[1])
        rows = np.flatnonzero(eligible & (popularity > 0))
        # Without replacement, by popularity: Efraimidis and Spirakis, Weighted random sampling
        # with a reservoir, 2006, with the logarithm of their key u^(1/w).
        keys = np.log1p(-self._rng.random(len(rows))) / popularity[rows]
        self.items = np.sort(rows[np.argsort(-keys, kind="stable")[: sampling.items]])
        self._popularity = popularity[self.items]
        self._users = 0
        self._first, self._second = self._pairs(indexed)

    def lacks(self, what: str) -> str:
        """Returns why the sample is too small; empty if it is not."""
        if len(self.items) < _LEAST:
            return f"{len(self.items)} items with interactions have {what}; {_LEAST} are needed"
        if self._users < _LEAST:
            return f"{self._users} users have two items with {what}; {_LEAST} are needed"
        return ""

    def test(self, of: Literal["text", "category"], vectors: sparse.csr_array) -> Alignment:
        cosine = cosines(vectors)
        observed = float(cosine[self._first, self._second].mean(dtype=np.float64))
        chance = np.empty(self._sampling.permutations)
        by_popularity = np.argsort(-self._popularity, kind="stable")
        stratum = np.arange(len(self.items)) // _LIKE
        exchange = np.empty_like(by_popularity)
        for number in range(len(chance)):
            order = np.lexsort((self._rng.random(len(self.items)), stratum))
            exchange[by_popularity] = by_popularity[order]
            means = cosine[exchange[self._first], exchange[self._second]]
            chance[number] = means.mean(dtype=np.float64)
        deviation = float(chance.std())
        if deviation <= _ROUNDING:
            why = f"the sampled items do not differ in {of}"
            return Alignment(of=of, verdict="untested", why=why)
        p = (1 + int((chance >= observed - _ROUNDING).sum())) / (1 + len(chance))
        return Alignment(
            of=of,
            verdict="aligned" if p <= LEVEL else "not aligned",
            items=len(self.items),
            users=self._users,
            pairs=len(self._first),
            observed=observed,
            expected=float(chance.mean()),
            deviation=deviation,
            p=p,
        )

    def _pairs(self, indexed: Indexed) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draws a user for each pair, then two of the user's items; returns rows of `items`."""
        chosen = np.zeros(indexed.shape[0], np.bool_)
        among = np.argsort(self._rng.random(indexed.shape[0]), kind="stable")
        chosen[among[: self._sampling.users]] = True
        row = np.full(indexed.shape[1], -1)
        row[self.items] = np.arange(len(self.items))
        kept = np.flatnonzero(chosen[indexed.users])
        kept = kept[row[indexed.items[kept]] >= 0]
        width = max(len(self.items), 1)
        keys = distinct(indexed.users[kept].astype(np.int64) * width + row[indexed.items[kept]])
        users, items = keys // width, keys % width
        counts = np.bincount(users, minlength=indexed.shape[0])
        starts = np.cumsum(counts) - counts
        several = np.flatnonzero(counts > 1)
        self._users = len(several)
        if not self._users:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        drawn = several[self._rng.integers(0, self._users, self._sampling.pairs)]
        first = self._rng.integers(0, counts[drawn])
        second = self._rng.integers(0, counts[drawn] - 1)
        second += second >= first
        one, other = items[starts[drawn] + first], items[starts[drawn] + second]
        pairs = distinct(np.minimum(one, other) * width + np.maximum(one, other))
        return pairs // width, pairs % width
