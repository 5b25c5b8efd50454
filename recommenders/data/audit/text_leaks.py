"""Whether items' texts know how popular the items will be: their amount, and their words.

Some texts grow with those who choose an item. The tags of CiteULike come from the people who save a
paper, so that the number of tags alone finds a cold paper's readers (recall@20 of 0.054 where
chance is 0.012). Other texts were written by somebody, or by a model, that knew how things went:
"bestseller", "a classic that won five Academy Awards". A model that reads such a text is given part
of the answer.

Measured is the rank correlation (Spearman) of an item's number of interactions in a test part with

- the amount of its text: the number of words, or of parts between commas, semicolons and bars;
- what its words predict: ridge regression on TF-IDF vectors. For cold items it learns the number of
  training interactions of training items. For items of training it learns from four fifths of the
  items, and predicts the last fifth.

Of items that training knows, only what training does not tell already counts: ranks are first
regressed on the rank in training and on the categories. The p-value is that of random exchanges of
the items, as in `alignment`. A reason against the dataset needs both p <= 0.01 and a correlation
beyond a bound, since a fair text says something of an item's popularity too: the words of films'
titles and descriptions reach 0.32, and films with short titles are more popular (-0.16). The titles
of Games reach 0.17 beyond training, by number of words and by vocabulary: newer games have longer
titles, and the test part is later (docs/results/audit.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from recommenders.data.audit.resemblance import label_vectors, word_vectors
from recommenders.data.split import COLD_ITEMS, COLD_USERS, WARM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recommenders.data.split import Part, Split

LEVEL = 0.01
AMOUNT_COLD, VOCABULARY_COLD, BEYOND_TRAINING = 0.2, 0.5, 0.3
"""Bounds of the correlation: for cold items by amount and by words, for all other items by either."""

_LEAST = 50  # minimum number of items of a part
_MOST = 2_000  # items that a regression learns from, and that it predicts
_FOLDS = 5
_PERMUTATIONS = 999
_RIDGE = 1.0
_LABELS = 50  # the most frequent categories that popularity is regressed on
_K = 20
_PARTS = re.compile(r"[,;|]")

Of = Literal["text", "item profiles"]
By = Literal["words", "fields", "vocabulary"]
_AMOUNTS: tuple[By, ...] = ("words", "fields")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextLeak:
    """What the items' texts know of their popularity in a test part.

    Attributes:
        scenario: Such as `cold-items`.
        of: What was read: the items' `text`, or `item profiles`.
        by: `words` or `fields`, the amount of text; or `vocabulary`.
        items: Number of items that were compared.
        correlation: Spearman's correlation with the number of interactions in the test part; beyond
            training popularity and category, except for cold items.
        p: Its p-value, two-sided.
        bound: The correlation from which on it is a reason.
        recall: For the amount of cold items' texts: recall@20 of the order by amount, in the
            direction that holds on validation; else None.
        recall_by_chance: The recall@20 of a random order; else None.
    """

    scenario: str
    of: Of
    by: By
    items: int
    correlation: float
    p: float
    bound: float
    recall: float | None = None
    recall_by_chance: float | None = None

    @property
    def leaks(self) -> bool:
        """Whether it is a reason against the dataset."""
        return self.p <= LEVEL and abs(self.correlation) >= self.bound

    def reasons(self) -> list[str]:
        """Returns why the texts are not sound."""
        if not self.leaks:
            return []
        what = {
            "words": f"the number of words of {self._owner}",
            "fields": f"the number of fields of {self._owner}",
            "vocabulary": f"the vocabulary of {self._owner}",
        }[self.by]
        beyond = "" if self.scenario == COLD_ITEMS else ", beyond their popularity in training"
        found = (
            f"; ranked by it, recall@20 is {self.recall:.3f}, by chance {self.recall_by_chance:.3f}"
            if self.recall is not None
            else ""
        )
        reason = f"{what} knows how popular items are in {self.scenario}/test{beyond}: rank"
        return [f"{reason} correlation {self.correlation:.2f}, bound {self.bound:g}{found}"]

    @property
    def _owner(self) -> str:
        return "an item's text" if self.of == "text" else "an item's profile"


def find_text_leaks(
    split: Split, texts: Sequence[str], categories: Sequence[str], *, of: Of = "text", seed: int = 0
) -> tuple[TextLeak, ...]:
    """Measures what texts know of popularity in each test part with at least 50 items.

    Args:
        split: The split.
        texts: The text of each item of the dataset; items without one are left out.
        categories: The categories of each item.
        of: Whose texts they are.
        seed: Seed of the samples and of the exchanges.
    """
    reader = _Reader(split, texts, categories, of, np.random.default_rng(seed))
    found: list[TextLeak] = []
    for scenario in (WARM, COLD_ITEMS, COLD_USERS):
        if scenario in split.scenarios:
            found += reader.cold() if scenario == COLD_ITEMS else reader.known(scenario)
    return tuple(found)


class _Reader:
    """Compares the texts of one source with the popularity in the parts of one split."""

    def __init__(
        self,
        split: Split,
        texts: Sequence[str],
        categories: Sequence[str],
        of: Of,
        rng: np.random.Generator,
    ) -> None:
        self._split, self._texts, self._categories, self._of = split, texts, categories, of
        self._rng = rng
        self._there = np.array([bool(text.strip()) for text in texts], np.bool_)
        self._popularity = np.bincount(split.train.indices, minlength=len(texts))

    def cold(self) -> list[TextLeak]:
        """Compares the texts of cold items."""
        scenario = self._split.scenarios[COLD_ITEMS]
        items, later = self._asked(scenario.test), _counts(scenario.test)
        if len(items) < _LEAST:
            return []
        found = []
        for by in _AMOUNTS:
            amounts = _amounts(self._texts, by)
            recall, chance = _recall(amounts, scenario.validation, scenario.test, self._rng)
            ranks = _ranks(amounts[items]), _ranks(later[items])
            leak = self._leak(COLD_ITEMS, by, *ranks, bound=AMOUNT_COLD)
            found.append(replace(leak, recall=recall, recall_by_chance=chance))
        known = _drawn(np.flatnonzero(self._there & (self._popularity > 0)), self._rng)
        items = _drawn(items, self._rng)
        if len(known) < _LEAST:
            return found
        vectors = word_vectors([self._texts[item] for item in (*known, *items)])
        kernel = (vectors @ vectors[: len(known)].T).toarray().astype(np.float64)
        learnt = np.log1p(self._popularity[known])
        predicted = _ridge(kernel[: len(known)], learnt, kernel[len(known) :])
        ranks = _ranks(predicted), _ranks(later[items])
        return [*found, self._leak(COLD_ITEMS, "vocabulary", *ranks, bound=VOCABULARY_COLD)]

    def known(self, scenario: str) -> list[TextLeak]:
        """Compares the texts of items that training knows, beyond what it tells."""
        part = self._split.scenarios[scenario].test
        items = _drawn(self._asked(part), self._rng)
        if len(items) < _LEAST:
            return []
        told = self._told(items)
        later = _rest(_ranks(_counts(part)[items]), told)
        vectors = word_vectors([self._texts[item] for item in items])
        kernel = (vectors @ vectors.T).toarray().astype(np.float64)
        fold = self._rng.integers(0, _FOLDS, len(items))
        predicted = np.empty(len(items))
        for number in range(_FOLDS):
            out, learnt = fold == number, fold != number
            predicted[out] = _ridge(
                kernel[np.ix_(learnt, learnt)], later[learnt], kernel[np.ix_(out, learnt)]
            )
        found = [
            self._leak(scenario, by, _rest(_ranks(amounts), told), later, bound=BEYOND_TRAINING)
            for by in _AMOUNTS
            for amounts in [_amounts([self._texts[item] for item in items], by)]
        ]
        ranks = _ranks(predicted), later
        return [*found, self._leak(scenario, "vocabulary", *ranks, bound=BEYOND_TRAINING)]

    def _asked(self, part: Part) -> NDArray[np.int64]:
        items = _candidates(part)
        return items[self._there[items]]

    def _told(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns what popularity is regressed on: 1, the rank in training, frequent categories."""
        labels = label_vectors([self._categories[item] for item in items])
        sizes = np.bincount(labels.indices, minlength=labels.shape[1])
        frequent = np.argsort(-sizes, kind="stable")[:_LABELS]
        rank = _ranks(self._popularity[items]) / len(items)
        return np.column_stack([np.ones(len(items)), rank, labels[:, frequent].toarray()])

    def _leak(
        self,
        scenario: str,
        by: By,
        one: NDArray[np.float64],
        other: NDArray[np.float64],
        *,
        bound: float,
    ) -> TextLeak:
        correlation, p = _correlation(one, other, self._rng)
        return TextLeak(
            scenario=scenario,
            of=self._of,
            by=by,
            items=len(one),
            correlation=correlation,
            p=p,
            bound=bound,
        )


def _amounts(texts: Sequence[str], by: By) -> NDArray[np.int64]:
    """Returns the number of words, or of fields that are not empty, of each text."""
    if by == "words":
        return np.array([len(text.split()) for text in texts])
    return np.array([sum(bool(field.strip()) for field in _PARTS.split(text)) for text in texts])


def _counts(part: Part) -> NDArray[np.int64]:
    return np.bincount(part.relevant.indices, minlength=part.relevant.shape[1])


def _drawn(items: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns at most 2,000 of the items, drawn."""
    return np.sort(items[np.argsort(rng.random(len(items)), kind="stable")[:_MOST]])


def _ranks(values: NDArray[np.integer] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the ranks, from 1; equal values have the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse]
    return ranks


def _rest(values: NDArray[np.float64], told: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns what a least-squares regression on the columns of `told` leaves."""
    fitted: NDArray[np.float64] = told @ np.linalg.lstsq(told, values, rcond=1e-9)[0]
    return values - fitted


def _ridge(
    kernel: NDArray[np.float64], targets: NDArray[np.float64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns kernel ridge regression's predictions, with the mean of the targets as intercept."""
    mean = targets.mean()
    weights = np.linalg.solve(kernel + _RIDGE * np.eye(len(kernel)), targets - mean)
    predicted: NDArray[np.float64] = asked @ weights + mean
    return predicted


def _correlation(
    one: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float]:
    """Returns the correlation and its two-sided p-value by random exchanges; 0 and 1 if one is constant."""
    one, other = one - one.mean(), other - other.mean()
    length = float(np.sqrt((one**2).sum() * (other**2).sum()))
    if length <= 1e-9:
        return 0.0, 1.0
    observed = float((one * other).sum()) / length
    as_far = sum(
        abs(float((one[np.argsort(rng.random(len(one)))] * other).sum())) / length
        >= abs(observed) - 1e-12
        for _ in range(_PERMUTATIONS)
    )
    return observed, (1 + as_far) / (1 + _PERMUTATIONS)


def _recall(
    amounts: NDArray[np.int64], validation: Part, test: Part, rng: np.random.Generator
) -> tuple[float, float]:
    """Returns recall@20 on test of the order by amount, and that of a random order.

    Whether more or less text is better was chosen on validation.
    """
    before = _candidates(validation)
    direction, _ = _correlation(_ranks(amounts[before]), _ranks(_counts(validation)[before]), rng)
    items = _candidates(test)
    lot = rng.random(len(items))
    order = np.lexsort((lot, -np.sign(direction or 1.0) * amounts[items]))
    top = items[order[:_K]]
    relevant = test.relevant[test.users]
    found = np.asarray(relevant[:, top].sum(axis=1)).ravel() / np.diff(relevant.indptr)
    return float(found.mean()), min(1.0, _K / len(items))


def _candidates(part: Part) -> NDArray[np.int64]:
    return np.arange(part.relevant.shape[1]) if part.candidates is None else part.candidates
