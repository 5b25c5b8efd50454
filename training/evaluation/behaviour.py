"""Similar users and hidden choices of the users of prompts, from a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from training.data.builders.neighbours import chosen_by, neighbours_by_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recommenders.data.dataset import Dataset
    from training.evaluation.writers import HeldOut

_SIMILAR = 3
"""Neighbours of a user or item, among those of the comparison."""


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """Similar rows, and the users' choices in and outside of their prompts.

    Attributes:
        similar: For each row, the rows of its kind with the most similar choices; may be empty.
        kinds: For each row, "user" or "item".
        hidden: CSR, (rows, items), 1 where a user chose an item that the prompt does not name.
        shown: CSR, (rows, items), 1 where the prompt names an item.
    """

    similar: list[list[int]]
    kinds: list[str]
    hidden: sparse.csr_array
    shown: sparse.csr_array


def behaviour(
    rows: Sequence[HeldOut], dataset: Dataset, *, min_weight: float | None = None
) -> Behaviour:
    """Looks the rows up in a dataset.

    A prompt names an item if it contains the item's title in any case, whether the user chose it or
    not. So a profile need not find an item that the model read. An item whose title is part of another
    title may be excluded as well.

    Args:
        rows: Prompts with ids of the dataset.
        dataset: The users' choices.
        min_weight: Leave out interactions with less weight.
    """
    histories = dataset.histories(min_weight=min_weight)
    ids = dataset.items["item_id"].to_pylist()
    titles = [str(title).casefold() for title in dataset.items["title"].to_pylist()]
    column = {id_: place for place, id_ in enumerate(ids)}
    shown, hidden = [], []
    for row in rows:
        read = row.prompt[-1].content.casefold()
        named = {place for place, title in enumerate(titles) if title and title in read}
        chosen = (
            {column[item] for item in histories.get(row.id, ())} if row.kind == "user" else set()
        )
        shown.append(sorted(named))
        hidden.append(sorted(chosen - named))
    return Behaviour(
        similar=_similar(rows, histories),
        kinds=[row.kind for row in rows],
        hidden=_matrix(hidden, len(ids)),
        shown=_matrix(shown, len(ids)),
    )


def _similar(rows: Sequence[HeldOut], histories: Mapping[str, Sequence[str]]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in rows]
    for kind, choices in (("user", histories), ("item", chosen_by(histories))):
        positions = {row.id: place for place, row in enumerate(rows) if row.kind == kind}
        if positions:
            neighbours = neighbours_by_choice(choices, list(positions), limit=_SIMILAR)
            for id_, others in neighbours.items():
                found[positions[id_]] = [positions[other] for other in others]
    return found


def _matrix(columns: Sequence[Sequence[int]], width: int) -> sparse.csr_array:
    ends = np.cumsum([0, *(len(row) for row in columns)])
    indices = np.array([column for row in columns for column in row], np.int64)
    ones = np.ones(len(indices), np.float32)
    return sparse.csr_array((ones, indices, ends), shape=(len(columns), width))
