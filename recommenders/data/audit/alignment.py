"""Whether the text of the items belongs to the interactions: a permutation test.

If it does, two items of one user resemble each other more than two items at large: that is what
every recommender that reads text lives from. If someone has mixed up the ids it does not, and no
other figure would tell.

The statistic is the mean cosine over pairs of items that one user chose. For each pair a user is
drawn, all users alike, so that a few with long histories do not decide; and each pair counts once,
so that the few most popular items, which meet in thousands of histories, do not. The null
hypothesis: among items of like popularity it makes no difference which text belongs to which.
Under it every exchange of texts among such items was as likely as the order that is there, so the
share of random exchanges with as high a mean, (1 + b) / (1 + B), is a p-value (Phipson and Smyth,
Permutation P-values should never be zero, 2010). It holds whatever the resemblances are, and
however the pairs depend on each other, since the pairs stay and only texts move: Mantel's test
(Cancer Research 27, 1967), of resemblance against meeting in a history. The exchange stays among
items of like popularity because popular items may well resemble each other (blockbusters of few
years, one language) and are in most histories: two of them meet in a history however little their
texts have to do with it.

The cost is bounded: a few thousand items, whose cosines are computed once, some ten thousand users
and pairs; only two passes over the interactions (users, popularity) grow with the data. Small
samples make the test weaker, never wrong.
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
"""The text is aligned if chance does as well at most this often."""

_LIKE = 50  # items of like popularity among which texts are exchanged
_LEAST = 50  # items and users below which nothing is said
_ROUNDING = 1e-12  # sums of the same numbers in another order differ by less


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How much the test looks at.

    Attributes:
        items: Items, drawn by popularity.
        users: Users, drawn alike.
        pairs: Pairs of items of one user that are drawn; the same one again counts once.
        permutations: Exchanges of texts; the least p-value is 1 / (1 + permutations).
        seed: Where chance starts.
    """

    items: int = 3_000
    users: int = 20_000
    pairs: int = 30_000
    permutations: int = 999
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """What the test says about one property of the items.

    Attributes:
        of: `text` (title and description) or `category`.
        verdict: `aligned`, `not aligned`, or `untested` where there is too little to tell.
        why: Why it is untested; empty otherwise.
        items: Items looked at.
        users: Users with at least two of them.
        pairs: Different pairs looked at.
        observed: Mean cosine of two items of one user.
        expected: The same, with texts exchanged: the mean over all exchanges.
        deviation: The standard deviation over these.
        p: Share of exchanges with at least the observed mean, as in the module's docstring.
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
        """How many times as much as by chance items of one user resemble each other."""
        return self.observed / self.expected if self.expected > 0 else float("nan")

    @property
    def z(self) -> float:
        """How many standard deviations the observed mean is from that of chance."""
        gap = self.observed - self.expected
        return gap / self.deviation if self.deviation > 0 else float("nan")


def text_alignment(dataset: Dataset, indexed: Indexed, sampling: Sampling) -> Alignment:
    """Tests titles and descriptions. A title that is the item's id is no text."""
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
    """Tests categories; an item may have several, with commas between them."""
    sample = _Sample(indexed, ~is_empty(dataset, "category"), sampling)
    if why := sample.lacks("a category"):
        return Alignment(of="category", verdict="untested", why=why)
    categories: list[Any] = dataset.items["category"].take(sample.items).to_pylist()
    return sample.test("category", label_vectors(categories))


class _Sample:
    """Items, and pairs of them that one user chose.

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
        """Returns why the sample is too small, or nothing."""
        if len(self.items) < _LEAST:
            return f"{len(self.items)} items that somebody chose have {what}; {_LEAST} are needed"
        if self._users < _LEAST:
            return f"{self._users} users chose two items that have {what}; {_LEAST} are needed"
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
            why = f"the items sampled do not differ in {of}"
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
        """Returns two rows of `items` for each pair; draws a user first, then two items of theirs."""
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
