"""Users and items as row numbers: models know rows, not ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow.compute as pc
from scipy import sparse

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from recommenders.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Indexed:
    """The interactions of a dataset by row numbers.

    Attributes:
        user_ids: User row -> id, in order of first appearance among the interactions.
        item_ids: Item row -> id, in order of the items' table, including items without interactions.
        users: User row of each interaction, int32, in the order of the interactions' table.
        items: Item row of each interaction, int32.
        times: Time of each interaction in seconds since 1970, int64.
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: Dataset) -> Indexed:
        """Numbers the users and items of a dataset."""
        table = dataset.interactions
        # Encode before joining the chunks: the ids of 100 million rows may exceed 2 GiB.
        encoded = table["user_id"].dictionary_encode().combine_chunks()
        users = cast("pa.DictionaryArray[Any, Any]", encoded)
        items = dataset.items["item_id"]
        rows = pc.index_in(table["item_id"], value_set=items)
        return cls(
            user_ids=tuple(np.asarray(users.dictionary).tolist()),
            item_ids=tuple(np.asarray(items).tolist()),
            users=np.asarray(users.indices),
            items=np.asarray(rows),
            times=np.asarray(table["timestamp"]),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items."""
        return len(self.user_ids), len(self.item_ids)

    def fingerprint(self) -> str:
        """Returns a hash of all ids and interactions, 16 hexadecimal digits."""
        digest = hashlib.sha256(repr((self.user_ids, self.item_ids)).encode())
        for numbers in (self.users, self.items, self.times):
            digest.update(numbers.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def matrix(
        self, chosen: NDArray[np.bool_] | NDArray[np.int64] | None = None
    ) -> sparse.csr_array:
        """Returns interactions as a matrix, users x items.

        Args:
            chosen: A mask or the rows of the interactions to include; all by default.

        Returns:
            CSR of float32 with 1 for each distinct pair; columns are sorted in each row.
        """
        users = self.users if chosen is None else self.users[chosen]
        items = self.items if chosen is None else self.items[chosen]
        return pairs(users, items, self.shape)


def pairs(
    users: NDArray[np.integer], items: NDArray[np.integer], shape: tuple[int, int]
) -> sparse.csr_array:
    """Returns a CSR matrix of float32 with 1 at each pair; columns are sorted in each row."""
    ones = np.ones(len(users), np.float32)
    matrix = sparse.csr_array((ones, (users, items)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the distinct numbers in ascending order, as numpy.unique does.

    Sorts, because the hashing of numpy.unique takes several times as long on a million pairs.
    """
    ascending = np.sort(numbers)
    first = np.ones(len(ascending), np.bool_)
    first[1:] = ascending[1:] > ascending[:-1]
    return ascending[first]
