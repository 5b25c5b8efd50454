"""Distinct pairs of user and item in each user's order of time; all splits divide these."""

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
    """The distinct pairs, by user and then by time; equal times keep the table's order.

    Attributes:
        users: User row of each pair, int32, ascending.
        items: Item row of each, int32.
        times: Time of the pair's first interaction, int64.
        rows: The row of that interaction in the dataset's table, int64.
        shape: Number of users and of items of the whole dataset.
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
        """Returns the number of pairs of each user, among those in the mask."""
        return np.bincount(
            self.users if mask is None else self.users[mask], minlength=self.shape[0]
        )

    def per_item(self, mask: Mask | None = None) -> NDArray[np.int64]:
        """Returns the number of pairs of each item, among those in the mask."""
        return np.bincount(
            self.items if mask is None else self.items[mask], minlength=self.shape[1]
        )

    def first(self, count: int, mask: Mask) -> Mask:
        """Returns a mask of each user's first `count` pairs among those in the mask."""
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
        """Returns the scenario for users and items of the training part.

        Pairs of users or items that are not in training are left out, and only items of the training
        part are ranked. In the test part the validation pairs are known.
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
        """Returns the scenario for new items and users of the training part.

        Args:
            train: The training pairs.
            validation: The pairs of validation, and the items that are ranked.
            test: The same for test.
        """
        met = (self.per_user(train) > 0)[self.users]
        known = self.matrix(train)
        first, second = (
            Part(known=known, relevant=self.matrix(mask & met), candidates=np.sort(items))
            for mask, items in (validation, test)
        )
        return Scenario(validation=first, test=second)

    def cold_users(self, train: Mask, validation: Mask, test: Mask, *, known: int) -> Scenario:
        """Returns the scenario for new users and items of the training part.

        Args:
            train: The training pairs.
            validation: All pairs of the users of validation.
            test: All pairs of the users of test.
            known: Number of each user's first pairs that are known; the others are relevant.
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
            DatasetError: The training part is empty, or a part has no relevant items.
        """
        if not train.any():
            raise DatasetError(f"split {name}: the training part is empty")
        for scenario, parts in scenarios.items():
            for part, what in ((parts.validation, "validation"), (parts.test, "test")):
                if not part.relevant.nnz:
                    raise DatasetError(
                        f"split {name}: {scenario}/{what} has no relevant items; "
                        "the users have too few interactions, the shares are too small, or "
                        "the items are not in the training part"
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

    The shares of a user's n pairs are seldom integers. They are rounded up or down at random, so
    that their expectation is exact and every pair has the same probability, for users with few and
    with many interactions. At least one pair of each user remains.

    Args:
        pairs: All pairs.
        among: The pairs that may be drawn.
        validation: Share for validation, from 0.
        test: Share for test, from 0.
        rng: Source of randomness.

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
