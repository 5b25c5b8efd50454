"""What all splits divide: pairs of user and item, in the order in which each user chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import pairs as pair_matrix
from recommenders.data.split import Part, Scenario, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.data.indexed import Indexed

    Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The distinct pairs, by user and then by time; those of one moment in the table's order.

    Attributes:
        users: User row of each pair, int32, ascending.
        items: Item row of each, int32.
        times: When the user first chose the item, int64.
        rows: The row of that interaction in the dataset's table, int64.
        shape: Users and items of the whole dataset.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    rows: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, indexed: Indexed, chosen: Mask | None = None) -> Pairs:
        """Returns the pairs of the chosen interactions, all by default."""
        rows = np.arange(len(indexed.users)) if chosen is None else np.flatnonzero(chosen)
        order = rows[np.lexsort((indexed.times[rows], indexed.users[rows]))]
        keys = indexed.users[order].astype(np.int64) * indexed.shape[1] + indexed.items[order]
        _, first = np.unique(keys, return_index=True)
        order = order[np.sort(first)]
        return cls(
            indexed.users[order], indexed.items[order], indexed.times[order], order, indexed.shape
        )

    def where(self, mask: Mask) -> Pairs:
        """Returns the pairs in the mask."""
        return Pairs(
            self.users[mask], self.items[mask], self.times[mask], self.rows[mask], self.shape
        )

    def __len__(self) -> int:
        return len(self.users)

    def per_user(self, mask: Mask | None = None) -> NDArray[np.int64]:
        """Returns how many pairs each user has, of those in the mask."""
        return np.bincount(
            self.users if mask is None else self.users[mask], minlength=self.shape[0]
        )

    def per_item(self, mask: Mask | None = None) -> NDArray[np.int64]:
        """Returns how many pairs each item has, of those in the mask."""
        return np.bincount(
            self.items if mask is None else self.items[mask], minlength=self.shape[1]
        )

    def first(self, count: int, mask: Mask) -> Mask:
        """Returns which pairs are among a user's first `count` of those in the mask."""
        before: NDArray[np.int64] = np.cumsum(mask) - mask
        counts = self.per_user()
        starts = np.cumsum(counts) - counts
        own: NDArray[np.int64] = before - before[starts[self.users]]
        return mask & (own < count)

    def matrix(self, mask: Mask) -> sparse.csr_array:
        """Returns the pairs in the mask as CSR of float32, users x items."""
        return pair_matrix(self.users[mask], self.items[mask], self.shape)

    def whole(self) -> sparse.csr_array:
        """Returns all pairs as CSR of float32, users x items."""
        return pair_matrix(self.users, self.items, self.shape)

    def warm(self, train: Mask, validation: Mask, test: Mask) -> Scenario:
        """Returns what is asked about users and items that training knows.

        Pairs of users or items that training lacks are left out, and only items that it has are
        ranked. In the test part validation is known as well: it is nothing to be found.
        """
        users, items = self.per_user(train) > 0, self.per_item(train) > 0
        met = users[self.users] & items[self.items]
        candidates = None if items.all() else np.flatnonzero(items)
        return Scenario(
            validation=Part(
                known=self.matrix(train),
                relevant=self.matrix(validation & met),
                candidates=candidates,
            ),
            test=Part(
                known=self.matrix(train | (validation & met)),
                relevant=self.matrix(test & met),
                candidates=candidates,
            ),
        )

    def cold_items(
        self,
        train: Mask,
        validation: tuple[Mask, NDArray[np.int64]],
        test: tuple[Mask, NDArray[np.int64]],
    ) -> Scenario:
        """Returns what is asked about items that training lacks, for users that it knows.

        Args:
            train: The training pairs.
            validation: Its pairs, and the items that are ranked.
            test: The same.
        """
        met = (self.per_user(train) > 0)[self.users]
        known = self.matrix(train)
        first, second = (
            Part(known=known, relevant=self.matrix(mask & met), candidates=np.sort(items))
            for mask, items in (validation, test)
        )
        return Scenario(validation=first, test=second)

    def cold_users(self, train: Mask, validation: Mask, test: Mask, *, known: int) -> Scenario:
        """Returns what is asked about users that training lacks, for items that it knows.

        Args:
            train: The training pairs.
            validation: All pairs of the users of this half.
            test: The same.
            known: How many of each user's first pairs are known; the others are to be found.
        """
        items = self.per_item(train) > 0
        candidates = None if items.all() else np.flatnonzero(items)

        def part(mask: Mask) -> Part:
            mask = mask & items[self.items]
            first = self.first(known, mask)
            return Part(
                known=self.matrix(first),
                relevant=self.matrix(mask & ~first),
                candidates=candidates,
            )

        return Scenario(validation=part(validation), test=part(test))

    def split(self, name: str, train: Mask, scenarios: Mapping[str, Scenario]) -> Split:
        """Returns the split.

        Raises:
            DatasetError: Training has nothing, or nothing is to be found in a part.
        """
        if not train.any():
            raise DatasetError(f"split {name}: nothing is left to train on")
        for scenario, parts in scenarios.items():
            for part, what in ((parts.validation, "validation"), (parts.test, "test")):
                if not part.relevant.nnz:
                    raise DatasetError(
                        f"split {name}: nothing is to be found in {scenario}/{what}; "
                        "the users have too few interactions, the shares are too small, or "
                        "training lacks the items"
                    )
        return Split(
            name=name,
            train=self.matrix(train),
            train_rows=np.sort(self.rows[train]),
            scenarios=dict(scenarios),
        )


def hold_back(
    pairs: Pairs,
    among: Mask,
    *,
    validation: float,
    test: float,
    rng: np.random.Generator,
) -> tuple[Mask, Mask]:
    """Draws a share of each user's pairs for validation and for test.

    The shares of a user's n pairs are seldom whole numbers. They are rounded up or down at
    random, so that their expectation is exact: who has five interactions is asked about as often,
    for each of them, as who has five hundred. At least one pair of each user is left.

    Args:
        pairs: All pairs.
        among: Which of them may be drawn.
        validation: Share for validation, from 0.
        test: Share for test, from 0.
        rng: Where chance comes from.

    Returns:
        The pairs of validation and of test, as masks.
    """
    rounding = rng.random((2, pairs.shape[0]))
    keys = rng.random(len(pairs))
    counts = pairs.per_user(among)
    most = np.maximum(counts - 1, 0)
    tests = np.minimum(np.floor(counts * test + rounding[0]).astype(np.int64), most)
    validations = np.minimum(
        np.floor(counts * validation + rounding[1]).astype(np.int64), most - tests
    )
    drawn = np.flatnonzero(among)
    users = pairs.users[drawn]
    order = np.lexsort((keys[drawn], users))
    place = np.arange(len(drawn)) - (np.cumsum(counts) - counts)[users]
    for_validation, for_test = np.zeros_like(among), np.zeros_like(among)
    chosen = drawn[order]
    for_test[chosen[place < tests[users]]] = True
    middle = (place >= tests[users]) & (place < (tests + validations)[users])
    for_validation[chosen[middle]] = True
    return for_validation, for_test
