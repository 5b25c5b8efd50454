"""Whether the answers lie in what models may learn from."""

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
    """What is wrong with one part; all zeros if nothing is.

    Attributes:
        scenario: Such as `warm`.
        part: `validation` or `test`.
        users: Users who are ranked for.
        relevant: Pairs to be found.
        in_training: Of these, how many are in the training part, in the rows that histories are
            made from, or in what may be read of newcomers.
        known: Of these, how many are known when the ranking is made, and so never found, without
            being in training or validation.
        not_ranked: Of these, how many are of items that are not ranked.
        in_validation: Of these, how many are in the validation part too, for test.
        not_cold: Items to be ranked, or users ranked for, that training knows, in a scenario that
            calls them cold.
        twins: A hint, not a fault: cold items whose title and description an item in training has
            too, so that they are hardly cold.
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
        """Returns why the split is not sound."""
        where, total = f"{self.scenario}/{self.part}", f"of {self.relevant:,} interactions"
        kind = "items" if self.scenario == COLD_ITEMS else "users"
        told = {
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
        return [reason for reason, count in told.items() if count]


def find_leaks(split: Split, indexed: Indexed, groups: NDArray[np.int64]) -> tuple[PartLeaks, ...]:
    """Looks for the pairs of each part where they must not be.

    Args:
        split: The split.
        indexed: The dataset that it divides.
        groups: A number for each item, the same for items with the same text, -1 for none.
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
