"""Interactions out of files of any format, checked block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.backfill.errors import BackfillError
from services.common.tabular.blocks import Columns, raised_as
from services.common.tabular.files import sources
from services.common.tabular.reader import read_blocks
from services.common.tabular.rules import ID, NUMBER, time_rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.common.tabular.blocks import BadRow, Block

    Interactions = tuple[pa.RecordBatch, list[BadRow], int]

_RULES = {"user_id": ID, "item_id": ID, "timestamp": time_rule(), "weight": NUMBER}


def read_interactions(path: Path, *, min_weight: float | None = None) -> Iterator[Interactions]:
    """Yields the interactions of a file or a folder in blocks, in the order of the input.

    Each block is a batch, the bad rows, and how many rows were read, bad ones and those left out
    included. The batch has columns `user` (a dictionary), `item` and `time` (microseconds since
    1970; 0 where the input has no times).

    Args:
        path: The file or folder.
        min_weight: Leave out those with less weight. Without it, weights are not looked at.

    Raises:
        BackfillError: A file cannot be read, a column is missing, or only some files have times.
    """
    optional = ("timestamp",) if min_weight is None else ("timestamp", "weight")
    columns = Columns(("user_id", "item_id"), optional)
    timed: dict[bool, str] = {}
    with raised_as(BackfillError):
        for source in sources(path):
            for block in read_blocks(source, columns):
                if min_weight is not None and block.size and "weight" not in block.columns:
                    raise BackfillError(f"{source.path} has no column 'weight' for min_weight")
                if block.size:
                    timed.setdefault("timestamp" in block.columns, source.name)
                if len(timed) == 2:
                    raise BackfillError(
                        f"{path}: {timed[False]} has no timestamps and {timed[True]} has some; "
                        "which interaction is older is unknown"
                    )
                yield _checked(block, min_weight)


def _checked(block: Block, min_weight: float | None) -> Interactions:
    found, bad = block.checked(_RULES)
    if min_weight is not None and "weight" in found:
        heavy = pc.greater_equal(found["weight"], pa.scalar(min_weight))
        found = {name: column.filter(heavy) for name, column in found.items()}
    times = found.get("timestamp", pa.array(np.zeros(len(found["user_id"]), np.int64)))
    columns = [found["user_id"], found["item_id"].cast(pa.string()), times]
    batch = pa.RecordBatch.from_arrays(columns, ["user", "item", "time"])
    return batch, bad, block.size + len(block.bad)
