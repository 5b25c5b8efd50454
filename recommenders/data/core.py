"""The core of a dataset: users and items that have enough interactions with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError


def core(dataset: Dataset, *, users: int, items: int, name: str) -> Dataset:
    """Returns the largest part of a dataset in which nobody and nothing is rare.

    Whoever has too few interactions goes, with them; then others may have too few, and so on
    (Seidman, Social Networks 1983: the k-core). The order of what stays is as it was.

    Args:
        dataset: Which stays as it is.
        users: Least interactions of a user.
        items: Least interactions of an item; items without any go too.
        name: Of what is left.

    Raises:
        DatasetError: Nothing is left.
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
