"""Splits with items or users that are not in the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.split import COLD_ITEMS, COLD_USERS, WARM
from recommenders.data.splits.pairs import Pairs, hold_back
from recommenders.data.splits.plan import ITEMS, PAIRS, USERS, Plan, halves, nearest
from recommenders.data.splits.published import Published

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Scenario, Split

_PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdItemsSplit(Plan):
    """All pairs of some items are removed from training; these items are ranked among each other.

    Scenarios: cold-items, and warm if `warm` is above 0.

    Users who have only cold items are not evaluated, since nothing is known of them.

    Attributes:
        share: Share of the items with interactions: half of them for validation, half for test.
        warm: Share of each user's other pairs for warm validation, and the same for warm test.
        seed: Seed of the random numbers. The cold items do not depend on `warm`.
    """

    kind: ClassVar[str] = "cold-items"

    share: float = 0.2
    warm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        self.check_share("share")
        _check_warm(self)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        return _divide(self, dataset, items=self.share, users=0, known=0, warm=self.warm)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdUsersSplit(Plan):
    """All pairs of some users are removed from training; their first pairs are known.

    Scenarios: cold-users, and warm if `warm` is above 0.

    Users are drawn among those with more than `known` pairs; the others would have no relevant
    item. Only items of the training part are known or relevant.

    Attributes:
        share: Share of these users: half of them for validation, half for test.
        known: Number of each cold user's first pairs that are known.
        warm: As in `ColdItemsSplit`.
        seed: Seed of the random numbers. The cold users do not depend on `warm`.
    """

    kind: ClassVar[str] = "cold-users"

    share: float = 0.2
    known: int = 3
    warm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        self.check_share("share")
        self.check_whole("known", 1)
        _check_warm(self)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        return _divide(self, dataset, items=0, users=self.share, known=self.known, warm=self.warm)


@dataclass(frozen=True, kw_only=True, slots=True)
class CombinedSplit(Plan):
    """Warm, cold-items and cold-users with one training part, so that one training serves all.

    Pairs of a cold user and a cold item are in no part.

    Attributes:
        items: Share of items that are cold; or `published` for the cold items of the column `part`.
        users: Share of users who are cold.
        known: Number of each cold user's first pairs that are known.
        warm: As in `ColdItemsSplit`, but above 0.
        seed: Seed of the random numbers. The cold items are those of `cold-items` with this share
            and seed. Published cold items without a validation part are halved with it.
    """

    kind: ClassVar[str] = "combined"

    items: float | str = 0.2
    users: float = 0.2
    known: int = 3
    warm: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        if self.items != _PUBLISHED:
            self.check_share("items")
        self.check_share("users")
        self.check_share("warm")
        self.check_whole("known", 1)
        _check_warm(self)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        return _divide(
            self, dataset, items=self.items, users=self.users, known=self.known, warm=self.warm
        )


def _check_warm(plan: ColdItemsSplit | ColdUsersSplit | CombinedSplit) -> None:
    plan.check_share("warm", zero=True)
    plan.check_whole("seed", 0)
    if plan.warm >= 0.5:
        raise DatasetError(
            f"split {plan.kind}: warm is {plan.warm}; it must be below 0.5, since twice that is held back"
        )


def _divide(
    plan: ColdItemsSplit | ColdUsersSplit | CombinedSplit,
    dataset: Dataset,
    *,
    items: float | str,
    users: float,
    known: int,
    warm: float,
) -> Split:
    pairs = Pairs.of(Indexed.of(dataset))
    of_items = np.random.default_rng([plan.seed, ITEMS])
    item_halves = (
        _published(dataset, of_items, plan)
        if isinstance(items, str)
        else _draw(np.flatnonzero(pairs.per_item()), items, of_items, plan)
    )
    item_half = _marked(item_halves, pairs.shape[1])[pairs.items]
    of_warm_items = item_half == 0
    user_halves = _draw(
        np.flatnonzero(pairs.per_user(of_warm_items) > known) if users else np.empty(0, np.int64),
        users,
        np.random.default_rng([plan.seed, USERS]),
        plan,
    )
    user_half = _marked(user_halves, pairs.shape[0])[pairs.users]
    train = of_warm_items & (user_half == 0)
    validation, test = hold_back(
        pairs, train, validation=warm, test=warm, rng=np.random.default_rng([plan.seed, PAIRS])
    )
    train &= ~(validation | test)
    scenarios: dict[str, Scenario] = {}
    if warm:
        scenarios[WARM] = pairs.warm(train, validation, test)
    if items:
        of_known = user_half == 0
        scenarios[COLD_ITEMS] = pairs.cold_items(
            train,
            (of_known & (item_half == 1), item_halves[0]),
            (of_known & (item_half == 2), item_halves[1]),
        )
    if users:
        scenarios[COLD_USERS] = pairs.cold_users(
            train,
            of_warm_items & (user_half == 1),
            of_warm_items & (user_half == 2),
            known=known,
        )
    return pairs.split(plan.name, train, scenarios)


def _draw(
    rows: NDArray[np.int64], share: float, rng: np.random.Generator, plan: Plan
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = nearest(share * len(rows))
    if share and count < 2:
        raise DatasetError(
            f"split {plan.name}: {share:g} of {len(rows)} gives fewer than one for each half"
        )
    return halves(rows, count, rng)


def _published(
    dataset: Dataset, rng: np.random.Generator, plan: Plan
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    published = Published(dataset)
    if COLD_ITEMS not in published.scenarios:
        raise DatasetError(f"split {plan.name}: the published split has no cold items")
    validation, test, _ = published.halves_of_cold_items(rng)
    return validation, test


def _marked(rows: tuple[NDArray[np.int64], NDArray[np.int64]], length: int) -> NDArray[np.int8]:
    """Returns 1 for the rows of validation, 2 for those of test, 0 for the others."""
    half = np.zeros(length, np.int8)
    half[rows[0]] = 1
    half[rows[1]] = 2
    return half
