"""A plan: the kind of a split and its options, validated when they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split

ITEMS, USERS, PAIRS = 1, 2, 3
"""Streams of random numbers: the choice of cold items is independent of all other choices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(ABC):
    """A plan to divide a dataset. The fields of each subclass are its options."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """The kind with its options, such as `random(validation=0.1, test=0.1, seed=1)`."""
        options = ((field.name, getattr(self, field.name)) for field in fields(self))
        shown = ", ".join(f"{key}={value}" for key, value in options if value is not None)
        return f"{self.kind}({shown})"

    @abstractmethod
    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset. The result of a plan is the same on every platform.

        Raises:
            DatasetError: The dataset is too small for one of the parts.
        """

    def check_share(self, option: str, *, zero: bool = False) -> None:
        """Raises DatasetError unless an option is a number above 0 (or 0, if `zero`) and below 1."""
        value = getattr(self, option)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DatasetError(f"split {self.kind}: {option} is {value!r}, not a number")
        if not (0 < value < 1 or (zero and value == 0)):
            lowest = "at least 0" if zero else "above 0"
            raise DatasetError(f"split {self.kind}: {option} is {value}; {lowest} and below 1")

    def check_whole(self, option: str, least: int) -> None:
        """Raises DatasetError unless an option is an integer of at least `least`."""
        value = getattr(self, option)
        if isinstance(value, bool) or not isinstance(value, int):
            raise DatasetError(f"split {self.kind}: {option} is {value!r}, not a whole number")
        if value < least:
            raise DatasetError(f"split {self.kind}: {option} is {value}; at least {least}")


def halves(
    rows: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws `count` of the rows and returns half of them for validation, half for test.

    Both are ascending; if `count` is odd, test has one more.
    """
    # By the order of random numbers, since rng.permutation depends on the width of integers.
    drawn = rows[np.argsort(rng.random(len(rows)), kind="stable")[:count]]
    middle = count // 2
    return np.sort(drawn[:middle]), np.sort(drawn[middle:])


def nearest(number: float) -> int:
    """Rounds to the nearest integer, halves up."""
    return int(np.floor(number + 0.5))
