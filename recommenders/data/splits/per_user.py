"""Splits that take a little from every user: at random, or the last of each."""

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
    """Some of each user's pairs, drawn at random. Scenario: warm.

    A user with one pair has it in training.

    Attributes:
        validation: Share of each user's pairs.
        test: Share of each user's pairs.
        seed: Where chance starts.
    """

    kind: ClassVar[str] = "random"

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError where an option makes no sense."""
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
    """The last pairs of each user for test, the ones before for validation. Scenario: warm.

    A user with fewer than `validation + test + 1` pairs has them all in training.

    Attributes:
        validation: How many pairs of each user.
        test: How many pairs of each user.
    """

    kind: ClassVar[str] = "leave-last-out"

    validation: int = 1
    test: int = 1

    def __post_init__(self) -> None:
        """Raises DatasetError where an option makes no sense."""
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
