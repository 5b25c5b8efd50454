"""What a split is: what models may learn from, and what they are judged by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

WARM, COLD_ITEMS, COLD_USERS = "warm", "cold-items", "cold-users"
"""Scenarios: items and users known from training; items that are not; users who are not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Users to rank items for, and the items that should come first.

    All matrices are CSR of float32 with users x items of the whole dataset, 1 for each pair.

    Attributes:
        known: What is known of each user when the ranking is made; never ranked again. Users who
            are not in training have their first interactions here.
        relevant: What should be found. Users with an empty row are not ranked for.
        candidates: The item rows that are ranked, ascending; None for all.
    """

    known: sparse.csr_array
    relevant: sparse.csr_array
    candidates: NDArray[np.int64] | None = None

    @property
    def users(self) -> NDArray[np.int64]:
        """The rows of the users who are ranked for, ascending."""
        return np.flatnonzero(np.diff(self.relevant.indptr)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A validation part, for every choice that is made, and a test part for the result alone."""

    validation: Part
    test: Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """One way to divide a dataset.

    Attributes:
        name: How it was made, options and seed included, such as `random(0.8,0.1,0.1) seed 1`.
        train: CSR of float32, users x items; the only thing that models and profiles may read.
        train_rows: The rows of the dataset's interactions that are in `train`, ascending.
        scenarios: By name, such as `warm`; the same training part serves all of them.
    """

    name: str
    train: sparse.csr_array
    train_rows: NDArray[np.int64]
    scenarios: Mapping[str, Scenario]

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that stand for every pair in every part."""
        digest = hashlib.sha256(self.name.encode())
        for matrix in (self.train, *self._matrices()):
            for array in (matrix.indptr, matrix.indices):
                digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        for _, scenario in sorted(self.scenarios.items()):
            for part in (scenario.validation, scenario.test):
                candidates = [-1] if part.candidates is None else part.candidates
                digest.update(np.asarray(candidates, np.int64).tobytes())
        return digest.hexdigest()[:16]

    def _matrices(self) -> list[sparse.csr_array]:
        return [
            matrix
            for _, scenario in sorted(self.scenarios.items())
            for part in (scenario.validation, scenario.test)
            for matrix in (part.known, part.relevant)
        ]
