"""The dataset that builders read: its training part, and its fingerprint for manifests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from recommenders.data.dataset import Dataset
from recommenders.data.splits.text import read_plan

if TYPE_CHECKING:
    from pathlib import Path


def read_training_part(folder: Path, split: str | None) -> Dataset:
    """Reads a dataset folder, and returns the part that a model may be trained on.

    Args:
        folder: Folder of the dataset.
        split: The split of `reclm-recommend`, such as `random,seed=1`; None for the whole dataset.

    Raises:
        DatasetError: The folder cannot be read, or the split is not valid.
    """
    dataset = Dataset.read(folder)
    if split is None:
        return dataset
    rows = read_plan(split).divide(dataset).train_rows
    return Dataset(dataset.info, dataset.items, dataset.interactions.take(rows))


def fingerprint(dataset: Dataset) -> str:
    """Returns 16 hexadecimal digits that identify the items' texts and all interactions.

    They do not depend on the platform or on the chunks of the tables.
    """
    digest = hashlib.sha256()
    for table, columns in (
        (dataset.items, ("item_id", "title", "category", "description")),
        (dataset.interactions, ("user_id", "item_id", "timestamp", "weight")),
    ):
        digest.update(table.num_rows.to_bytes(8, "little"))
        for column in columns:
            for chunk in table[column].chunks:
                _update(digest, chunk)
            digest.update(b"\n")
    return digest.hexdigest()[:16]


def _update(digest: hashlib._Hash, values: pa.Array[Any]) -> None:
    if pa.types.is_string(values.type):
        for text in values.to_pylist():
            raw = str(text).encode()
            digest.update(len(raw).to_bytes(4, "little"))
            digest.update(raw)
    else:
        order = "<i8" if pa.types.is_integer(values.type) else "<f4"
        digest.update(np.asarray(values).astype(order).tobytes())
