"""Splits that hold back pairs of every user: at random, or the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.split import WARM
from recommenders.data.splits.pairs import Pairs, hold_back
from recommenders.data.splits.plan import PAIRS, Plan

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomSplit(Plan):
    """Holds back a random share of each user's pairs. Scenario: warm.

    The only pair of a user is in training.

    Attributes:
        validation: Share of each user's pairs for validation.
        test: Share of each user's pairs for test.
        seed: Seed of the random numbers.
    """

    kind: ClassVar[str] = "random"

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        self.check_share("validation")
        self.check_share("test")
        self.check_whole("seed", 0)
        if self.validation + self.test >= 1:
            raise DatasetError("split random: validation and test leave nothing to train on")

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        pairs = Pairs.of(Indexed.of(dataset))
        validation, test = hold_back(
            pairs,
            np.ones(len(pairs), np.bool_),
            validation=self.validation,
            test=self.test,
            rng=np.random.default_rng([self.seed, PAIRS]),
        )
        train = ~(validation | test)
        return pairs.split(self.name, train, {WARM: pairs.warm(train, validation, test)})


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaveLastOut(Plan):
    """Takes each user's last pairs for test and those before for validation. Scenario: warm.

    All pairs of a user with fewer than `validation + test + 1` are in training. Pairs of one moment
    are in the order of the table; the audit counts the users for whom this decides.

    Attributes:
        validation: Number of pairs of each user for validation.
        test: Number of pairs of each user for test.
    """

    kind: ClassVar[str] = "leave-last-out"

    validation: int = 1
    test: int = 1

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        self.check_whole("validation", 1)
        self.check_whole("test", 1)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        pairs = Pairs.of(Indexed.of(dataset))
        counts = pairs.per_user()
        from_end = np.cumsum(counts)[pairs.users] - np.arange(len(pairs))  # 1 for the last
        enough = counts[pairs.users] > self.validation + self.test
        test = enough & (from_end <= self.test)
        validation = enough & ~test & (from_end <= self.validation + self.test)
        train = ~(validation | test)
        return pairs.split(self.name, train, {WARM: pairs.warm(train, validation, test)})
