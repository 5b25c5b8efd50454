"""A split: the training part, and the validation and test parts of each scenario."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recommenders.tie_breaking import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from scipy import sparse

WARM, COLD_ITEMS, COLD_USERS, FULL = "warm", "cold-items", "cold-users", "full"
"""Scenarios: items and users of the training part; new items; new users; items of the training part
and new items together."""

_PIECE = 1 << 20  # numbers converted at a time, so that 100 million need no second copy


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Users to rank items for, and their relevant items.

    All matrices are CSR of float32, users x items of the whole dataset, with 1 for each pair.

    Attributes:
        known: The interactions of each user that are known when the ranking is made; these items
            are not ranked. Users who are not in training have their first interactions here. Rows
            of users who are not evaluated have no meaning.
        relevant: The relevant items of each user. Users with an empty row are not evaluated.
        candidates: The item rows that are ranked, ascending; None for all.
    """

    known: sparse.csr_array
    relevant: sparse.csr_array
    candidates: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Validates the shapes and the candidates.

        Raises:
            ValueError: The shapes differ, or the candidates are not ascending item rows.
        """
        if self.known.shape != self.relevant.shape:
            raise ValueError(f"known is {self.known.shape}, but relevant {self.relevant.shape}")
        bounded = np.concatenate([[-1], self._candidates(), [self.relevant.shape[1]]])
        if (np.diff(bounded) <= 0).any():
            raise ValueError("candidates must be rows of items, ascending, each once")

    def _candidates(self) -> NDArray[np.int64]:
        return np.empty(0, np.int64) if self.candidates is None else self.candidates

    @property
    def users(self) -> NDArray[np.int64]:
        """The rows of the users who are evaluated, ascending."""
        return np.flatnonzero(np.diff(self.relevant.indptr)).astype(np.int64)

    def for_few(self, most: int | None) -> Part:
        """Returns the part with at most `most` users; None keeps all.

        The users are drawn by a hash of their row, which is the same in every part and split and
        does not depend on the other users.
        """
        # The readers import this module where scipy is not installed.
        from scipy import sparse

        users = self.users
        if most is None or len(users) <= most:
            return self
        draws = draw(0, users, np.zeros_like(users))
        chosen = np.zeros(self.relevant.shape[0], np.bool_)
        chosen[users[np.argsort(draws, kind="stable")[:most]]] = True
        kept = np.repeat(chosen, np.diff(self.relevant.indptr))
        lengths = np.where(chosen, np.diff(self.relevant.indptr), 0)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(self.relevant.indptr.dtype)
        relevant = sparse.csr_array(
            (self.relevant.data[kept], self.relevant.indices[kept], indptr),
            shape=self.relevant.shape,
        )
        return Part(known=self.known, relevant=relevant, candidates=self.candidates)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A validation part, for the choice of epochs and options, and a test part for the result."""

    validation: Part
    test: Part

    def for_few(self, *, validation: int | None, test: int | None) -> Scenario:
        """Returns the scenario with a limited number of users in each part; see `Part.for_few`."""
        return Scenario(self.validation.for_few(validation), self.test.for_few(test))


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A division of a dataset into training, validation and test.

    Attributes:
        name: Its kind with options and seed, such as
            `random(validation=0.1, test=0.1, seed=1)`.
        train: CSR of float32, users x items; models and profiles may read nothing else.
        train_rows: The rows of the dataset's interactions that are in `train`, ascending.
        scenarios: By name, such as `warm`; all have the same training part.
    """

    name: str
    train: sparse.csr_array
    train_rows: NDArray[np.int64]
    scenarios: Mapping[str, Scenario]

    def parts(self) -> Iterator[tuple[str, str, Part]]:
        """Yields the scenario, `validation` or `test`, and the part, in order of the scenarios' names."""
        for name, scenario in sorted(self.scenarios.items()):
            yield name, "validation", scenario.validation
            yield name, "test", scenario.test

    def readable(self) -> sparse.csr_array:
        """Returns what profiles may read: training pairs, and the known pairs of new users.

        New users have no training pair. A pair that is known in one part may be relevant in another,
        as a test part knows the validation pairs; pairs that are relevant in any part are left out.

        Returns:
            CSR of float32, users x items, 1 for each pair.
        """
        # Imported here for the same reason as scipy in `Part.for_few`.
        from recommenders.data.indexed import pairs

        new = np.flatnonzero(np.diff(self.train.indptr) == 0)
        known = asked = self.train[new]
        for _, _, part in self.parts():
            known = known.maximum(part.known[new])
            asked = asked.maximum(part.relevant[new])
        rows, items = (known - known.multiply(asked)).nonzero()
        if not len(rows):
            return self.train
        both: sparse.csr_array = self.train + pairs(new[rows], items, self.train.shape)
        return both

    def fingerprint(self) -> str:
        """Returns a hash of the name and all pairs of all parts, 16 hexadecimal digits.

        The pairs are hashed as row numbers, not as ids. The hash is the same on every platform.
        """
        digest = hashlib.sha256(self.name.encode())
        _update(digest, self.train_rows)
        _update_matrix(digest, self.train)
        for scenario, name, part in self.parts():
            digest.update(f"\n{scenario}/{name}\n".encode())
            _update_matrix(digest, part.known)
            _update_matrix(digest, part.relevant)
            digest.update(b"all" if part.candidates is None else b"some")
            if part.candidates is not None:
                _update(digest, part.candidates)
        return digest.hexdigest()[:16]


def _update_matrix(digest: hashlib._Hash, matrix: sparse.csr_array) -> None:
    sound = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
    _update(digest, np.asarray(matrix.shape))
    _update(digest, sound.indptr)
    _update(digest, sound.indices)


def _update(digest: hashlib._Hash, numbers: NDArray[np.integer]) -> None:
    """Hashes the length and the numbers, in a fixed byte order."""
    digest.update(len(numbers).to_bytes(8, "little"))
    for start in range(0, len(numbers), _PIECE):
        digest.update(numbers[start : start + _PIECE].astype("<i8").tobytes())
