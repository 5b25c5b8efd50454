"""The k-core of a dataset: users and items with a minimum number of interactions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError


def core(dataset: Dataset, *, users: int, items: int, name: str) -> Dataset:
    """Returns the k-core of a dataset (Seidman, Social Networks 1983).

    Users and items with too few interactions are removed with their interactions, repeatedly, until
    all that remain have enough. The order of the rows is kept.

    Args:
        dataset: The dataset; it is not changed.
        users: Minimum number of interactions of a user.
        items: Minimum number of interactions of an item; items without any are removed.
        name: Name of the result.

    Raises:
        DatasetError: No interaction remains.
    """
    table = dataset.interactions
    user_rows = np.asarray(table["user_id"].combine_chunks().dictionary_encode().indices)
    item_codes = table["item_id"].combine_chunks().dictionary_encode()
    item_rows = np.asarray(item_codes.indices)
    kept = np.ones(len(user_rows), bool)
    while True:
        often = np.bincount(user_rows[kept], minlength=user_rows.max(initial=-1) + 1) >= users
        wanted = np.bincount(item_rows[kept], minlength=item_rows.max(initial=-1) + 1) >= items
        left = kept & often[user_rows] & wanted[item_rows]
        if left.sum() == kept.sum():
            break
        kept = left
    if not kept.any():
        raise DatasetError(
            f"no user has {users} interactions with items that have {items}; ask for fewer"
        )
    interactions = table.filter(pa.array(kept))
    chosen = set(interactions["item_id"].to_pylist())
    there = pa.array([id_ in chosen for id_ in dataset.items["item_id"].to_pylist()])
    rule = f"users with at least {users} interactions and items with at least {items}"
    split = rule if dataset.info.split is None else f"{dataset.info.split}; of it, {rule}"
    info = replace(dataset.info, name=name, split=split)
    return Dataset(info, dataset.items.filter(there), interactions)
