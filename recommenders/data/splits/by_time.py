"""A split by time: training before a moment, validation and test after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.split import COLD_ITEMS, COLD_USERS, WARM, Scenario
from recommenders.data.splits.pairs import Pairs
from recommenders.data.splits.plan import Plan, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split
    from recommenders.data.splits.pairs import Mask


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSplit(Plan):
    """Training before one moment, validation up to a second one, test after it.

    Pairs of one moment are in one part: those of a cut are in the later one, also where the cut was
    made by shares. So no training pair is as late as a validation pair, or this as a test pair.

    Scenarios, each only if both of its parts have relevant items: warm; cold-items, the items that
    first occur in that part; cold-users, the users who first occur in it. Cold items and users are
    not drawn at random.

    Attributes:
        validation: Share of all pairs, those before test.
        test: Share of all pairs, the latest.
        cuts: Instead of shares: the start of validation and of test, in seconds since 1970.
        known: Number of a new user's first pairs that are known.
    """

    kind: ClassVar[str] = "time"

    validation: float | None = None
    test: float | None = None
    cuts: tuple[int, int] | None = None
    known: int = 3

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        self.check_whole("known", 1)
        if self.cuts is not None:
            self._check_cuts()
            return
        for option in ("validation", "test"):
            if getattr(self, option) is None:
                object.__setattr__(self, option, 0.1)
            self.check_share(option)
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise DatasetError("split time: validation and test leave nothing to train on")

    def _check_cuts(self) -> None:
        cuts = self.cuts
        if not isinstance(cuts, list | tuple) or [type(cut) for cut in cuts] != [int, int]:
            raise DatasetError(f"split time: cuts are {cuts!r}, not two whole numbers of seconds")
        if cuts[0] >= cuts[1]:
            raise DatasetError(f"split time: cuts are {cuts!r}; validation must begin before test")
        if self.validation is not None or self.test is not None:
            raise DatasetError("split time: give either cuts, or the shares validation and test")
        object.__setattr__(self, "cuts", tuple(cuts))

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        pairs = Pairs.of(Indexed.of(dataset))
        begins, ends = self.cuts or self._quantiles(pairs)
        train = pairs.times < begins
        test = pairs.times >= ends
        validation = ~(train | test)
        scenarios = {
            WARM: pairs.warm(train, validation, test),
            COLD_ITEMS: _new_items(pairs, train, validation, test),
            COLD_USERS: _new_users(pairs, train, validation, test, self.known),
        }
        return pairs.split(self.name, train, _with_both_parts(scenarios, self.name))

    def _quantiles(self, pairs: Pairs) -> tuple[int, int]:
        times = np.sort(pairs.times)
        if not len(times) or times[0] == times[-1]:
            raise DatasetError("split time: all interactions have the same timestamp")
        ends = nearest(len(times) * (1 - (self.test or 0)))
        begins = nearest(len(times) * (1 - (self.test or 0) - (self.validation or 0)))
        for option, count in (("validation", ends - begins), ("test", len(times) - ends)):
            if not count:
                raise DatasetError(
                    f"split {self.name}: {option} {getattr(self, option):g} of {len(times)} pairs "
                    "is less than one pair"
                )
        if times[begins] in (times[0], times[ends]):
            common, counts = np.unique(times, return_counts=True)
            raise DatasetError(
                f"split {self.name}: {counts.max():,} of {len(times):,} pairs have the time "
                f"{common[counts.argmax()]}, so that no moment divides them by these shares; leave "
                "interactions without a time out, give cuts, or take another split, such as random"
            )
        return int(times[begins]), int(times[ends])


def _new_items(pairs: Pairs, train: Mask, validation: Mask, test: Mask) -> Scenario:
    old = pairs.per_item(train) > 0
    between = (pairs.per_item(validation) > 0) & ~old
    late = (pairs.per_item(test) > 0) & ~old & ~between
    return pairs.cold_items(
        train,
        (validation & between[pairs.items], np.flatnonzero(between)),
        (test & late[pairs.items], np.flatnonzero(late)),
    )


def _new_users(pairs: Pairs, train: Mask, validation: Mask, test: Mask, known: int) -> Scenario:
    old = pairs.per_user(train) > 0
    between = (pairs.per_user(validation) > 0) & ~old
    late = ~old & ~between
    return pairs.cold_users(
        train, validation & between[pairs.users], test & late[pairs.users], known=known
    )


def _with_both_parts(scenarios: Mapping[str, Scenario], name: str) -> dict[str, Scenario]:
    kept = {
        scenario: parts
        for scenario, parts in scenarios.items()
        if parts.validation.relevant.nnz and parts.test.relevant.nnz
    }
    if not kept:
        raise DatasetError(
            f"split {name}: no scenario has relevant items in both validation and test"
        )
    return kept
