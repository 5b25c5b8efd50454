"""Tables of profiles in snapshots: what their fingerprints are computed from.

Snapshots are written by `recommenders.features`, and rewritten by an erasure.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

COLUMNS = ("id", "text", "vector")


def columns_of(table: pa.Table) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float32]]:
    """Returns ids, texts, and vectors as float32 of shape (rows, dimension).

    Raises:
        ValueError: Vectors have different lengths, or a value is null.
    """
    if any(table[name].null_count for name in COLUMNS):
        raise ValueError("profiles: an id, a text or a vector is missing")
    lengths = pc.unique(pc.list_value_length(table["vector"])).to_pylist()
    if len(lengths) > 1:
        raise ValueError(f"profiles: vectors of different lengths: {sorted(lengths)}")
    width = int(lengths[0] or 0) if lengths else 0
    flat = np.asarray(pc.list_flatten(table["vector"]))
    return (
        tuple(np.asarray(table["id"]).tolist()),
        tuple(np.asarray(table["text"]).tolist()),
        flat.astype(np.float32).reshape(table.num_rows, width),
    )


def digest(ids: Sequence[str], texts: Sequence[str], vectors: NDArray[np.float32]) -> str:
    """Returns a hash of a table, 16 hexadecimal digits."""
    hashed = hashlib.sha256(repr((ids, texts, vectors.shape)).encode())
    hashed.update(np.ascontiguousarray(vectors).tobytes())
    return hashed.hexdigest()[:16]


def fingerprint(info: Mapping[str, Any], digests: Sequence[str | None]) -> str:
    """Returns a hash of a snapshot, 16 hexadecimal digits.

    Args:
        info: The members of its manifest, without the fingerprint.
        digests: Of the tables of users and of items; None for one that is missing.
    """
    document = json.dumps([info, digests], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def request_prefix(dataset: str, split: str | None, known: int | None = None) -> str:
    """Returns what stands before the ids of a snapshot when the service is asked for its profiles.

    Args:
        dataset: The dataset's name.
        split: The split's fingerprint; None for items by their own texts.
        known: Number of first clicks that profiles of new users read; None for all others.
    """
    first = "" if known is None else f"first-{known}/"
    return f"features/{dataset}/{split or 'texts'}/{first}"
