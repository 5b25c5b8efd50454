"""By how much users' profiles may be worse than none, segment by segment, for a bundle's manifest.

A profile that helps users of five clicks may do harm to those of one, or among new items. On the
validation parts each user is ranked for twice by the path that a service takes, as a new user with
the profile and without. The lower end of the interval of the difference is the bound that the
scorer applies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from recommenders.benchmark.means import mean_vectors
from recommenders.benchmark.ranks import contributions, ranks_of
from recommenders.crossed import Cells, compare, numbered
from recommenders.evaluation import evaluate
from recommenders.models.gates import SEGMENTS, segment_of
from recommenders.models.terms import FactorTerms, HasTerms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from recommenders.data.split import Part, Scenario
    from recommenders.models.base import Inputs, ScoresNewUsers

METRIC, LEVEL, MARGIN = "ndcg@20", 0.95, 0.005
LEAST_USERS = 30
"""With fewer users in a segment nothing is said of it."""

MOST_USERS = 2_000
"""Users of a scenario that are ranked for."""

_FEW = (1, 2, 4, 8)
"""Numbers of clicks that are shown of users with more, one in each segment from 1 to 10."""


def profile_bounds(
    model: Any,  # noqa: ANN401 - a recommender that the benchmark has trained
    inputs: Inputs,
    scenarios: Mapping[str, Scenario],
    *,
    of_items: bool,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Returns the bounds as the manifest has them.

    Args:
        model: The trained model.
        inputs: The inputs that it was trained with.
        scenarios: Their validation parts are used.
        of_items: Whether users' profiles are the means of those of their items. Then the profile of a
            user of whom fewer clicks are shown is known too.
        seed: Of the clicks that are shown and of the resamples.

    Returns:
        `metric`, `level`, `margin` and `segments`; None for a model that reads no users' profiles.
        A segment has `clicks` (the least number), `items` (`warm` or `cold`), `users`, and
        `difference`, `low` and `high`, which are null for fewer users than `LEAST_USERS`.
    """
    if inputs.user_profiles is None or not isinstance(model, HasTerms):
        return None
    terms = model.terms()
    if not isinstance(terms, FactorTerms) or not terms.profile_dimension:
        return None
    scorer: ScoresNewUsers = model  # type: ignore[assignment]  # whatever has a tower scores new users
    warm = np.bincount(inputs.train.indices, minlength=inputs.n_items) > 0
    pairs = _Pairs()
    for scenario in scenarios.values():
        part = scenario.validation.for_few(MOST_USERS)
        for known, profiles in _shown(part, inputs, of_items=of_items, seed=seed):
            pairs.add(scorer, part, known, profiles)
    segments = [
        _segment(pairs, warm, number, cold=cold, seed=seed)
        for number in range(len(SEGMENTS))
        for cold in (False, True)
    ]
    return {"metric": METRIC, "level": LEVEL, "margin": MARGIN, "segments": segments}


class _AsNew:
    """Scores the users of a part as new users."""

    def __init__(
        self,
        model: ScoresNewUsers,
        users: NDArray[np.int64],
        known: sparse.csr_array,
        profiles: NDArray[np.float32] | None,
    ) -> None:
        self._model, self._users, self._known, self._profiles = model, users, known, profiles

    def scores(
        self,
        users: NDArray[np.int64],
        known: sparse.csr_array,  # noqa: ARG002 - all known items, which are only kept out of the list
    ) -> NDArray[np.float32]:
        rows = np.searchsorted(self._users, users)
        read = None if self._profiles is None else self._profiles[rows]
        return self._model.new_user_scores(self._known[rows], read)


class _Pairs:
    """What each relevant pair adds, with the profile and without."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int64], ...]] = []

    def add(
        self,
        model: ScoresNewUsers,
        part: Part,
        known: sparse.csr_array,
        profiles: NDArray[np.float32],
    ) -> None:
        """Ranks for the users of a part who have a profile."""
        there = np.asarray(profiles.any(axis=1))
        if not there.any():
            return
        users, cutoff = part.users, int(METRIC.partition("@")[2])
        found = [
            evaluate(_AsNew(model, users, known, read), part, cutoffs=[cutoff])
            for read in (profiles, None)
        ]
        rows, items, new = ranks_of(found[0], part)
        old = ranks_of(found[1], part)[2]
        found_at = np.searchsorted(users, rows)
        segments = segment_of(np.diff(known.indptr))[found_at]
        kept = there[found_at]
        # A user who is shown with several numbers of clicks is in several segments, once in each.
        self._parts.append(tuple(each[kept] for each in (rows, items, new, old, segments)))

    def columns(self) -> tuple[NDArray[np.int64], ...]:
        """Returns users, items, ranks with the profile and without, and segments."""
        if not self._parts:
            return tuple(np.zeros(0, np.int64) for _ in range(5))
        return tuple(np.concatenate(each) for each in zip(*self._parts, strict=True))


def _shown(
    part: Part, inputs: Inputs, *, of_items: bool, seed: int
) -> Iterator[tuple[sparse.csr_array, NDArray[np.float32]]]:
    """Yields what is shown of the users of a part, and their profiles."""
    assert inputs.user_profiles is not None  # noqa: S101 - checked by the caller
    users = part.users
    if not len(users):
        return
    known = part.known[users]
    yield known, inputs.user_profiles[users]
    if not of_items or inputs.item_profiles is None:
        return
    for count in _FEW:
        few = _some(known, count, np.random.default_rng([seed, count]))
        # A user is in a segment once: by all known items, or else by the few that are shown.
        lower = segment_of(np.diff(few.indptr)) < segment_of(np.diff(known.indptr))
        profiles = mean_vectors(few, inputs.item_profiles) * lower[:, None]
        yield few, profiles.astype(np.float32)


def _some(known: sparse.csr_array, count: int, rng: np.random.Generator) -> sparse.csr_array:
    """Returns at most `count` items of each row, drawn at random."""
    rows = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
    order = np.lexsort((rng.random(known.nnz), rows))
    place = np.arange(known.nnz) - known.indptr[rows]
    kept = np.sort(order[place < count])
    ones = np.ones(len(kept), np.float32)
    matrix = sparse.csr_array((ones, (rows[kept], known.indices[kept])), shape=known.shape)
    return matrix.tocsr()


def _segment(
    pairs: _Pairs, warm: NDArray[np.bool_], number: int, *, cold: bool, seed: int
) -> dict[str, Any]:
    users, items, new, old, segments = pairs.columns()
    chosen = np.flatnonzero((segments == number) & (warm[items] != cold))
    people = numbered(users[chosen])
    count = int(people.max()) + 1 if len(people) else 0
    segment: dict[str, Any] = {
        "clicks": SEGMENTS[number],
        "items": "cold" if cold else "warm",
        "users": count,
        **dict.fromkeys(("difference", "low", "high")),
    }
    if count < LEAST_USERS:
        return segment
    gain, shares = contributions(people, new[chosen], METRIC)
    chance = compare(
        Cells(
            users=people,
            items=numbered(items[chosen]),
            seeds=np.zeros(len(people), np.int64),
            shares=shares,
            differences=gain - contributions(people, old[chosen], METRIC)[0],
        ),
        seed=seed,
    )
    low, high = chance.interval(LEVEL)
    figures = {"difference": chance.difference, "low": low, "high": high}
    return segment | {name: round(value, 6) for name, value in figures.items()}
