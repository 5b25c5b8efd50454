"""MovieLens 1M for both sides of a benchmark: the same pairs in the same parts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recommenders.data.readers.gear_rec import read_gear_rec
from recommenders.data.split import WARM
from recommenders.data.splits.per_user import RandomSplit

if TYPE_CHECKING:
    from scipy import sparse

    from recommenders.data.split import Split

FOLDER = (
    Path(
        os.environ.get("RECLM_TEST_DATA")
        or Path(__file__).resolve().parents[2].parent / "shared/data"
    )
    / "ml-1m"
)
NAME = "ml-1m"


def read_split(folder: Path) -> Split:
    """Returns 80 % of each user's pairs for training, and a tenth each for the other parts."""
    return RandomSplit(validation=0.1, test=0.1, seed=0).divide(read_gear_rec(folder))


def write_atomic(split: Split, folder: Path, *, name: str = NAME) -> Path:
    """Writes a split as RecBole's benchmark files, rows as tokens.

    Args:
        split: The split.
        folder: A new folder.
        name: What RecBole calls the data set.

    Returns:
        The folder that RecBole calls the data path.
    """
    parts = {
        "train": split.train,
        "valid": split.scenarios[WARM].validation.relevant,
        "test": split.scenarios[WARM].test.relevant,
    }
    files = folder / name
    files.mkdir(parents=True)
    for part, matrix in parts.items():
        _write(files / f"{name}.{part}.inter", matrix)
    return folder


def _write(path: Path, matrix: sparse.csr_array) -> None:
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    pairs = np.stack([users, matrix.indices], axis=1)
    header = "user_id:token\titem_id:token"
    np.savetxt(path, pairs, fmt="%d", delimiter="\t", header=header, comments="")
