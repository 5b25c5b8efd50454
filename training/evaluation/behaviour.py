"""What is known of the users and items of some prompts besides what stands in the prompts."""

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
"""Neighbours of a user or item, among those compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """Who of the rows is like whom, and what users chose that their prompts do not say.

    Attributes:
        similar: For each row, the rows of its kind with the most similar choices; of nobody, where
            nothing is known or alike.
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

    An item counts as named by a prompt when its title stands in it, in whatever case, chosen or
    not. So nothing that the model read is among what its profile should find; an item whose title
    is a part of another's may be left out as well.

    Args:
        rows: Prompts whose ids are the dataset's.
        dataset: Who chose what.
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
