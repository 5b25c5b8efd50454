"""Small parts and scorers to evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from recommenders.data.split import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class Table:
    """Scores as they are written down, whatever is known."""

    values: NDArray[np.float32]

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        assert known.shape == (len(users), self.values.shape[1])
        return self.values[users]


def matrix(rows: list[list[int]], n_items: int) -> sparse.csr_array:
    dense = np.zeros((len(rows), n_items), np.float32)
    for row, items in enumerate(rows):
        dense[row, items] = 1
    return sparse.csr_array(dense)


def part(
    known: list[list[int]],
    relevant: list[list[int]],
    n_items: int,
    candidates: list[int] | None = None,
) -> Part:
    rows = None if candidates is None else np.array(candidates, np.int64)
    return Part(known=matrix(known, n_items), relevant=matrix(relevant, n_items), candidates=rows)
