"""Leaks of a split: relevant pairs that models can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recommenders.data.split import COLD_ITEMS, COLD_USERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.data.indexed import Indexed
    from recommenders.data.split import Part, Split


@dataclass(frozen=True, kw_only=True, slots=True)
class PartLeaks:
    """The leaks of one part; all zeros for a sound one.

    Attributes:
        scenario: Such as `warm`.
        part: `validation` or `test`.
        users: Number of users who are evaluated.
        relevant: Number of relevant pairs.
        in_training: Number of relevant pairs in the training part, in the rows of the training
            histories, or in the readable histories of new users.
        known: Number of relevant pairs that are known, and so never ranked, but are not in training
            or validation.
        not_ranked: Number of relevant pairs whose items are not ranked.
        in_validation: Number of relevant pairs of test that are also relevant in validation.
        not_cold: Number of ranked items or evaluated users of a cold scenario that are in training.
        twins: A hint, not a leak: number of cold items with the same title and description as an
            item in training.
    """

    scenario: str
    part: str
    users: int
    relevant: int
    in_training: int
    known: int
    not_ranked: int
    in_validation: int
    not_cold: int
    twins: int

    def reasons(self) -> list[str]:
        """Returns the reasons why the split is not sound."""
        where, total = f"{self.scenario}/{self.part}", f"of {self.relevant:,} interactions"
        kind = "items" if self.scenario == COLD_ITEMS else "users"
        reasons = {
            f"{self.in_training:,} {total} of {where} are in training histories": self.in_training,
            f"{self.known:,} {total} of {where} are known beforehand": self.known,
            f"{self.not_ranked:,} {total} of {where} are of items that are not ranked": (
                self.not_ranked
            ),
            f"{self.in_validation:,} {total} of {where} are in validation too": (
                self.in_validation
            ),
            f"{self.not_cold:,} cold {kind} of {where} are in training": self.not_cold,
        }
        return [reason for reason, count in reasons.items() if count]


def find_leaks(split: Split, indexed: Indexed, groups: NDArray[np.int64]) -> tuple[PartLeaks, ...]:
    """Counts the leaks of each part.

    Args:
        split: The split.
        indexed: The dataset that it divides.
        groups: From `text_groups`.
    """
    histories = split.train.maximum(indexed.matrix(split.train_rows))
    read = histories.maximum(split.readable())
    seen: Mapping[str, NDArray[np.bool_]] = {
        COLD_ITEMS: np.bincount(histories.indices, minlength=histories.shape[1]) > 0,
        COLD_USERS: np.diff(histories.indptr) > 0,
    }
    twins = np.isin(groups, groups[seen[COLD_ITEMS] & (groups >= 0)])
    found = []
    for scenario, name, part in split.parts():
        validation = split.scenarios[scenario].validation.relevant
        elsewhere = histories.maximum(validation) if name == "test" else histories
        known = part.relevant.multiply(part.known)
        items = _ranked(part)
        cold = items if scenario == COLD_ITEMS else part.users
        found.append(
            PartLeaks(
                scenario=scenario,
                part=name,
                users=len(part.users),
                relevant=part.relevant.nnz,
                in_training=_common(part.relevant, read),
                known=known.nnz - _common(known, elsewhere),
                not_ranked=int((~np.isin(part.relevant.indices, items)).sum()),
                in_validation=_common(part.relevant, validation) if name == "test" else 0,
                not_cold=int(seen[scenario][cold].sum()) if scenario in seen else 0,
                twins=int(twins[items].sum()) if scenario == COLD_ITEMS else 0,
            )
        )
    return tuple(found)


def _ranked(part: Part) -> NDArray[np.int64]:
    return np.arange(part.relevant.shape[1]) if part.candidates is None else part.candidates


def _common(one: sparse.csr_array, other: sparse.csr_array) -> int:
    return int(one.multiply(other).nnz)
