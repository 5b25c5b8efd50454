"""Splits that hide whole items or users: what profiles are for."""

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
    """Some items leave training whole, and are ranked among each other.

    Scenarios: cold-items, and warm if asked for.

    A user who chose nothing but cold items is not ranked for: nothing is known of them.

    Attributes:
        share: Share of the items that anybody chose: half of them validation, half test.
        warm: Share of each user's other pairs that is held back for warm validation, and as much
            again for warm test.
        seed: Where chance starts. It gives the same items whatever `warm` is.
    """

    kind: ClassVar[str] = "cold-items"

    share: float = 0.2
    warm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError where an option makes no sense."""
        self.check_share("share")
        _check_warm(self)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        return _divide(self, dataset, items=self.share, users=0, known=0, warm=self.warm)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdUsersSplit(Plan):
    """Some users leave training; of each the first items are known.

    Scenarios: cold-users, and warm if asked for.

    Users are drawn among those with more than `known` pairs: of the others nothing could be asked.
    Only items of training are known or to be found.

    Attributes:
        share: Share of these users: half of them validation, half test.
        known: How many of each one's first pairs are known.
        warm: As with cold items.
        seed: Where chance starts. It gives the same users whatever `warm` is.
    """

    kind: ClassVar[str] = "cold-users"

    share: float = 0.2
    known: int = 3
    warm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError where an option makes no sense."""
        self.check_share("share")
        self.check_whole("known", 1)
        _check_warm(self)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset."""
        return _divide(self, dataset, items=0, users=self.share, known=self.known, warm=self.warm)


@dataclass(frozen=True, kw_only=True, slots=True)
class CombinedSplit(Plan):
    """Warm, cold-items and cold-users on one training part: one training serves all three.

    What a cold user did with a cold item is in no part.

    Attributes:
        items: Share of items that are cold; or `published`, the cold items of the column `part`.
        users: Share of users who are cold.
        known: How many of each cold user's first pairs are known.
        warm: As with cold items, above 0.
        seed: Where chance starts. The cold items are those of `cold-items` with this share and
            seed, or where published ones have no validation, it divides them in halves.
    """

    kind: ClassVar[str] = "combined"

    items: float | str = 0.2
    users: float = 0.2
    known: int = 3
    warm: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError where an option makes no sense."""
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
        raise DatasetError(f"split {plan.kind}: warm is {plan.warm}; twice that is held back")


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
            f"split {plan.name}: {share:g} of {len(rows)} is less than one for each half"
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
