"""Computes scores and their reasons from an opened bundle, with NumPy and the user tower.

Nothing here waits. Rankings that are not `quick` are computed in a thread, outside the event loop.
"""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from reclm_client.schemas.score import Interest, KnownBy, PastItem, Reasons, ScoredItem
from services.profiles.scoring import bundle as bundles
from services.profiles.scoring import manifest as manifests
from services.profiles.scoring import matching
from services.profiles.scoring.content import Contents
from services.profiles.scoring.gate import ProfileGate
from services.profiles.scoring.reasons import highest
from services.profiles.scoring.screen import Screen
from services.profiles.scoring.topk import top_k, within
from services.profiles.scoring.tower import Tower
from services.profiles.scoring.values import Ranking
from services.profiles.stores.base import ScorerRef

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from services.profiles.domain.profile import ProfileVersion
    from services.profiles.scoring.bundle import Bundle
    from services.profiles.scoring.values import Question

    Vector = NDArray[np.float32]
    Positions = NDArray[np.intp]
    Carried = tuple[tuple[PastItem, ...], tuple[Interest, ...]]

MOST_TRIED = 256
"""Most past items that are left out one by one: the newest clicks, then those of the training data."""

_ROUNDING = 1e-6
"""Differences of scores below this share of their terms are rounding errors of float32."""

_ROWS_AT_ONCE = 64

_QUICK = 16_000_000
"""Bytes that are read in about a millisecond."""

_SORTING, _MULTIPLYING = 800, 6
"""The cost, in those bytes, of a contribution and of a multiplication in the tower."""

_WORTH_A_SCREEN, _MOST = 1_000_000, 1_000_000_000
"""Bounds on the numbers in the items' vectors for a screen: with fewer it saves no time, and more do
not fit into one ONNX model."""
_FEW_LEFT = 8
"""A screen saves time if it leaves at most one item in this many."""


class _Reader(Protocol):
    """The scores of one question, by one kind of bundle, and the reasons for them."""

    def scores(self, items: Positions) -> Vector:
        """Returns scores of item rows."""
        ...

    def best(self, barred: Positions, k: int) -> tuple[Positions, Vector]:
        """Returns the k best of all items but the barred ones, and their scores, best first."""
        ...

    def carried(self, items: Positions) -> list[Carried]:
        """Returns the contributions of past items and of interests to each of the items."""
        ...


class Scorer(abc.ABC):
    """Ranks items for users by one bundle. May be called by several threads at once."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.gate = ProfileGate(bundle)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.manifest.name

    @property
    def ref(self) -> ScorerRef:
        """The bundle's name and the hash of its content."""
        return ScorerRef(self.name, self.bundle.content)

    @property
    def reads_profiles(self) -> bool:
        """Whether a profile changes any score."""
        return self.bundle.manifest.profile_dimension > 0

    def quick(self, question: Question) -> bool:
        """Returns whether a ranking takes less time than passing it to a thread may."""
        return self._bytes(question) <= _QUICK

    def rank(self, question: Question) -> Ranking:
        """Returns the k best items that the user has not chosen, not excluded and not withdrawn."""
        seen = self.bundle.seen(question.user).astype(np.intp)
        clicks = np.asarray(question.clicks, np.intp)
        newer = clicks[~np.isin(clicks, seen)]
        known = np.concatenate([seen, newer])
        stored = question.user is not None and not len(newer)
        if question.profile is not None and not stored and all(self.gate.left_out(len(known))):
            # For no item does the profile count: as if there were none.
            question = replace(question, profile=None, interests=None)
        by: KnownBy
        if stored:
            by = "training"
        elif len(known):
            by = "history"
        else:
            by = "nothing" if question.profile is None else "profile"
        reader = self._reader(question, known, stored=stored)

        barred = np.concatenate([known, np.asarray(question.exclude, np.intp)])
        if question.candidates is None:
            best, values = reader.best(np.concatenate([barred, question.withdrawn]), question.k)
        else:
            rows = np.setdiff1d(np.asarray(question.candidates, np.intp), barred)
            rows = _shown(rows, question)
            scores = reader.scores(rows)
            positions = top_k(scores, question.k)
            best, values = rows[positions], scores[positions]

        ids = self.bundle.item_ids
        why: list[Reasons | None] = [None] * len(best)
        if question.reasons:
            # A profile whose interests are not known may well have carried the item by them.
            unknown = question.profile is not None and question.interests is None
            why = [
                Reasons(history, None if unknown else interests)
                for history, interests in reader.carried(best)
            ]
        return Ranking(
            by,
            [
                ScoredItem(ids[row], score, reasons)
                for row, score, reasons in zip(best.tolist(), values.tolist(), why, strict=True)
            ],
        )

    @abc.abstractmethod
    def _bytes(self, question: Question) -> int:
        """Returns roughly how many bytes of the bundle are read."""

    @abc.abstractmethod
    def _reader(self, question: Question, known: Positions, *, stored: bool) -> _Reader:
        """Returns a user; `stored` if the training data holds all that is known."""


class FactorScorer(Scorer):
    """Bundles of kind "factors": a product of vectors, the user's from a tower."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        manifest = bundle.manifest
        self.tower = Tower(
            bundle.folder / bundles.TOWER,
            history_dimension=manifest.history_dimension,
            profile_dimension=manifest.profile_dimension,
            dimension=manifest.dimension,
        )
        items = bundle.arrays["item_vectors"]
        wanted = _WORTH_A_SCREEN <= items.size <= _MOST
        self.screen = Screen(items, bundle.item_bias) if wanted else None

    def _bytes(self, question: Question) -> int:
        items = self.bundle.arrays["item_vectors"]
        ranking = items.nbytes if self.screen is None else items.size
        known = len(question.clicks) + len(self.bundle.seen(question.user))
        if question.profile is not None and any(self.gate.left_out(known)):
            ranking = 2 * items.nbytes  # two vectors, for warm and for cold items
        if not question.reasons:
            return ranking
        interests = 0 if question.interests is None else len(question.interests.phrases)
        reasons = min(known, MOST_TRIED) + interests
        manifest = self.bundle.manifest
        one = manifest.history_dimension * manifest.dimension * _MULTIPLYING
        return ranking + reasons * (one + question.k * _SORTING)

    def _reader(self, question: Question, known: Positions, *, stored: bool) -> _Reader:
        return _FactorReader(self, question, known, stored=stored)


class WeightScorer(Scorer):
    """Bundles of kind "weights": a row of weights for each known item."""

    def _bytes(self, question: Question) -> int:
        rows = len(question.clicks) + len(self.bundle.seen(question.user))
        # Rows are read, written side by side, and read again.
        return 3 * rows * self.bundle.arrays["item_weights"].itemsize * len(self.bundle.item_ids)

    def _reader(self, question: Question, known: Positions, *, stored: bool) -> _Reader:  # noqa: ARG002 - stored or not, the rows are the same
        return _WeightReader(self.bundle, known, _shown(known, question))


class _FactorReader:
    """A user as vectors. With reasons, all inputs of the tower are one batch."""

    def __init__(
        self,
        scorer: FactorScorer,
        question: Question,
        known: Positions,
        *,
        stored: bool,
    ) -> None:
        bundle, gate = scorer.bundle, scorer.gate
        self._bundle = bundle
        # Items for which the profile does not count; a stored vector is as it was trained.
        self._apart: Positions | None = None
        left = gate.left_out(len(known))
        if question.profile is not None and not stored and any(left):
            self._apart = gate.warm if left.warm else gate.cold
        # A screen is of one vector, and here are two.
        self._screen = scorer.screen if self._apart is None else None
        self._items = bundle.arrays["item_vectors"]
        self._tried = _shown(known, question)[-MOST_TRIED:] if question.reasons else known[:0]
        self._interests = question.interests if question.reasons else None
        self._vectors: Vector | None = None
        if not stored or question.reasons:
            self._vectors = self._ask(scorer.tower, known, question.profile)
        if stored:
            self._vector = bundle.arrays["user_vectors"][question.user]
        else:
            assert self._vectors is not None  # noqa: S101 - asked for above
            self._vector = self._vectors[0]

    def _ask(self, tower: Tower, known: Positions, profile: Vector | None) -> Vector:
        """Returns vectors: the whole user, without profile, without each item, with each phrase."""
        history = self._bundle.arrays["history_vectors"]
        phrases = 0 if self._interests is None else len(self._interests.phrases)
        tried = len(self._tried)
        alone = not (tried or phrases) and self._apart is None
        batch = 1 if alone else 2 + tried + phrases
        pooled = np.empty((batch, history.shape[1]), np.float32)
        pooled[:] = history[known].sum(axis=0, dtype=np.float64)
        count = np.full((batch, 1), len(known), np.float32)
        given = np.zeros((batch, tower.profile_size), np.float32)
        has = np.zeros((batch, 1), np.float32)
        if profile is not None:
            given[:] = profile
            has[:] = 1
        if batch > 1:
            given[1] = has[1] = 0
            pooled[2 : 2 + tried] -= history[self._tried]
            count[2 : 2 + tried] -= 1
        if self._interests is not None:
            given[2 + tried :] = self._interests.vectors
            has[2 + tried :] = 1
        return tower.vectors(pooled, count, given, has)

    def scores(self, items: Positions) -> Vector:
        some: Vector = self._items[items] @ self._vector + self._bundle.item_bias[items]
        if self._apart is not None:
            without = np.flatnonzero(np.isin(items, self._apart))
            some[without] = self._bare(items[without])
        return some

    def _bare(self, items: Positions) -> Vector:
        """Returns scores of item rows without the profile."""
        assert self._vectors is not None  # noqa: S101 - asked for if any item is apart
        some: Vector = self._items[items] @ self._vectors[1] + self._bundle.item_bias[items]
        return some

    def best(self, barred: Positions, k: int) -> tuple[Positions, Vector]:
        if self._screen is not None:
            scores, error = self._screen.approximate(self._vector)
            scores[barred] = -np.inf
            positions = within(scores, k, 2 * error)
            if len(positions) <= len(scores) // _FEW_LEFT:
                exact = self.scores(positions)
                chosen = top_k(exact, k)
                return positions[chosen], exact[chosen]
        scores = np.empty(len(self._items), np.float32)
        np.dot(self._items, self._vector, out=scores)
        scores += self._bundle.item_bias
        if self._apart is not None:
            scores[self._apart] = self._bare(self._apart)
        return _best_but(scores, barred, k)

    def carried(self, items: Positions) -> list[Carried]:
        if self._vectors is None or len(self._vectors) == 1:
            return [((), ())] * len(items)
        chosen = self._items[items].T
        whole, bare = self._vectors[0], self._vectors[1]
        least = _ROUNDING * (np.abs(whole) @ np.abs(chosen))
        split = 2 + len(self._tried)
        ids = self._bundle.item_ids
        history = highest(
            PastItem,
            (whole - self._vectors[2:split]) @ chosen,
            [ids[row] for row in self._tried.tolist()],
            least,
        )
        phrases = [] if self._interests is None else self._interests.phrases
        carried = (self._vectors[split:] - bare) @ chosen
        if self._apart is not None:
            carried[:, np.isin(items, self._apart)] = 0
        interests = highest(Interest, carried, phrases, least)
        return list(zip(history, interests, strict=True))


class _WeightReader:
    """A user as rows of the weights, of which some are shown in reasons."""

    def __init__(self, bundle: Bundle, known: Positions, shown: Positions) -> None:
        self._bundle = bundle
        self._weights = bundle.arrays["item_weights"]
        self._known = known
        self._shown = shown

    def scores(self, items: Positions) -> Vector:
        return self._all()[items]

    def best(self, barred: Positions, k: int) -> tuple[Positions, Vector]:
        return _best_but(self._all(), barred, k)

    def _all(self) -> Vector:
        scores: Vector = self._bundle.item_bias.copy()
        weighted = False
        for start in range(0, len(self._known), _ROWS_AT_ONCE):
            rows = self._weights[self._known[start : start + _ROWS_AT_ONCE]]
            scores += rows.sum(axis=0)
            weighted = weighted or bool(rows.any())
        # If none of the items has any weights, the scores are those of an unknown user.
        return scores if weighted else self._bundle.arrays["item_prior"].copy()

    def carried(self, items: Positions) -> list[Carried]:
        ids = self._bundle.item_ids
        history = highest(
            PastItem,
            self._weights[np.ix_(self._shown, items)],
            [ids[row] for row in self._shown.tolist()],
            np.zeros(len(items), np.float32),
        )
        return [(past, ()) for past in history]


def _shown(rows: Positions, question: Question) -> Positions:
    """Returns the rows that are not withdrawn, in their order."""
    # By a table of all rows: many items may be withdrawn, and sorting them would take longer.
    return rows[~np.isin(rows, question.withdrawn, kind="table")]


def _best_but(scores: Vector, barred: Positions, k: int) -> tuple[Positions, Vector]:
    scores[barred] = -np.inf
    best = top_k(scores, k)
    return best, scores[best]


def open_scorer(
    folder: Path,
    version: ProfileVersion,
    *,
    dimension: int | None = None,
    contents: Contents | None = None,
) -> Scorer:
    """Loads a bundle for a service with profiles of a version.

    Args:
        folder: Of the bundle.
        version: Of the service's profiles.
        dimension: Numbers in a vector of the service's encoder; None if that is not known yet.
        contents: Has hashes of files that it has read before.

    Raises:
        DamagedBundle: As loading does.
        MismatchedBundle: It was trained on profiles or an encoder other than the service's.
    """
    contents = contents or Contents()
    matching.check(manifests.read(folder), version, dimension)
    bundle = bundles.load(folder, contents)
    kinds = {"factors": FactorScorer, "weights": WeightScorer}
    scorer = kinds[bundle.manifest.kind](bundle)
    # The tower was read after the arrays.
    bundles.check_same(bundle, contents)
    return scorer
