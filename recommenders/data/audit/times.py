"""Whether a dataset's times are times: a split by time or by order needs an order that means something.

Published data often has no clock. Its timestamps are then all the same, an interaction's position
in its user's sequence, or its row in the file; a share of the rows may have a time and the others 0.
Nothing in such a table is invalid, and every split divides it without an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.data.indexed import Indexed

_DAY = 86_400  # times below this are no seconds since 1970
_NEARLY_ALL = 0.95
_MANY_WITHOUT = 0.01  # share of the interactions at time 0 from which on they are a reason
_MANY_TIED = 0.5  # share of the users whose last interactions share a moment with earlier ones
_USERS = 20_000
_PERMUTATIONS = 199
_LEVEL = 0.01

_REAL = "import real times (`--time-column`), or take another split, such as random"


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """What the timestamps are.

    Attributes:
        kind: `clock`; `constant`, one time for all; `positions`, whole numbers from 0 or 1 in each
            user's sequence; `file order`, the number of the row; `none` without interactions.
        without: Number of interactions at time 0 where the others have a clock.
        interactions: Number of interactions.
        order: For positions, whether items have their place in the sequences: `meaningful`,
            `shuffled` if the order is no better than a random one, `by item` if the sequences are
            sorted by the items' rows; `untested` for all other kinds.
        p: The p-value of the order against shuffled sequences; 1 if it was not tested.
        tied: Number of users with an interaction of the last moment but one or earlier, whose last
            interaction has the very time of the one before.
        users: Number of users with at least two interactions.
    """

    kind: Literal["clock", "constant", "positions", "file order", "none"]
    without: int
    interactions: int
    order: Literal["meaningful", "shuffled", "by item", "untested"]
    p: float
    tied: int
    users: int

    def reasons(self, split: str) -> list[str]:
        """Returns why a split by these times is not sound, each with the remedy.

        Args:
            split: The kind of the split. Only `time` and `leave-last-out` read times.
        """
        if split not in ("time", "leave-last-out"):
            return []
        found = []
        if self.kind == "constant":
            found.append(f"split {split}: all interactions have one time; {_REAL}")
        if self.kind == "file order":
            found.append(f"split {split}: the times are the numbers of the rows; {_REAL}")
        if self.kind == "positions" and split == "time":
            found.append(
                "split time: the times are positions in each user's sequence, which mean nothing "
                f"between users; {_REAL} or leave-last-out"
            )
        if self.kind == "positions" and split == "leave-last-out" and self.order != "meaningful":
            why = (
                "sorted by item"
                if self.order == "by item"
                else f"no better than a random order, p = {self.p:.3f}"
            )
            found.append(f"split leave-last-out: the positions are {why}; {_REAL}")
        if self.without >= _MANY_WITHOUT * self.interactions > 0:
            share = self.without / self.interactions
            found.append(
                f"split {split}: {self.without:,} interactions ({share:.1%}) are at time 0, that is "
                "without a time; leave them out of the import, or take another split, such as random"
            )
        if self.kind == "clock" and split == "leave-last-out":
            found += self._ties()
        return found

    def _ties(self) -> list[str]:
        if self.tied <= _MANY_TIED * self.users:
            return []
        tied = f"{self.tied:,} of {self.users:,} users have their last two interactions at one time"
        return [
            f"split leave-last-out: {tied}, so that the table's order decides; take random or time"
        ]


def read_times(indexed: Indexed, *, seed: int = 0) -> Times:
    """Finds out what the timestamps are.

    Args:
        indexed: The dataset.
        seed: Seed of the shuffled sequences that positions are compared with.
    """
    order = np.lexsort((indexed.times, indexed.users))
    users, times, items = indexed.users[order], indexed.times[order], indexed.items[order]
    within = users[1:] == users[:-1]
    lengths = np.bincount(users, minlength=indexed.shape[0])
    kind = _kind(indexed, times, within)
    found: Literal["meaningful", "shuffled", "by item", "untested"] = "untested"
    p = 1.0
    if kind == "positions":
        found, p = _order(users, items, indexed.shape, seed)
    ends = np.cumsum(lengths)[lengths > 1]
    clock = len(times) > 0 and int(times.max()) >= _DAY
    return Times(
        kind=kind,
        without=int((times == 0).sum()) if clock else 0,
        interactions=len(times),
        order=found,
        p=p,
        tied=int((times[ends - 1] == times[ends - 2]).sum()),
        users=len(ends),
    )


def _kind(
    indexed: Indexed, times: NDArray[np.int64], within: NDArray[np.bool_]
) -> Literal["clock", "constant", "positions", "file order", "none"]:
    """Names the kind; `times` are by user and then by time, `within` says which are of one user."""
    if not len(times):
        return "none"
    if int(times.max()) == int(times.min()):
        return "constant"
    starts = times[np.concatenate([[True], ~within])]
    steps = np.diff(times)[within]
    if (
        int(times.max()) < _DAY
        and len(steps)
        and (steps == 1).mean() >= _NEARLY_ALL
        and ((starts == 0) | (starts == 1)).mean() >= _NEARLY_ALL
    ):
        return "positions"
    rows = np.diff(indexed.times)
    step = np.median(rows)
    if step and len(rows) > 1 and (rows == step).mean() >= _NEARLY_ALL:
        return "file order"
    return "clock"


def _order(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    shape: tuple[int, int],
    seed: int,
) -> tuple[Literal["meaningful", "shuffled", "by item"], float]:
    """Tests whether items have their place in the sequences, and returns the p-value.

    Items come and go, so in a real order some are early in their users' sequences and some late.
    The statistic is the variation of the items' mean relative places, the sum over items of
    (sum of places)^2 / n; it is compared with that of shuffled sequences.
    """
    ascending = (np.diff(items)[users[1:] == users[:-1]] > 0).mean()
    if max(ascending, 1 - ascending) >= _NEARLY_ALL:
        return "by item", 1.0
    lengths = np.bincount(users, minlength=shape[0])
    rng = np.random.default_rng(seed)
    drawn = np.zeros(shape[0], np.bool_)
    drawn[np.argsort(rng.random(shape[0]), kind="stable")[:_USERS]] = True
    kept = drawn[users]
    starts = np.cumsum(lengths) - lengths
    place = (np.arange(len(users)) - starts[users] + 0.5) / lengths[users] - 0.5
    owners, chosen, place = users[kept], items[kept], place[kept]
    counts = np.maximum(np.bincount(chosen, minlength=shape[1]), 1)

    def variation(of: NDArray[np.int32]) -> float:
        return float((np.bincount(of, place, minlength=shape[1]) ** 2 / counts).sum())

    observed = variation(chosen)
    as_good = sum(
        variation(chosen[np.lexsort((rng.random(len(chosen)), owners))]) >= observed
        for _ in range(_PERMUTATIONS)
    )
    p = (1 + as_good) / (1 + _PERMUTATIONS)
    return ("meaningful" if p <= _LEVEL else "shuffled"), p
