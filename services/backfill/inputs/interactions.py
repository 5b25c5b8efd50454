"""Who chose what when: interactions out of any format, checked block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.backfill.errors import BackfillError
from services.backfill.inputs.columns import Ids, id_column, number_column, time_column
from services.backfill.inputs.files import Block, Columns, sources
from services.backfill.inputs.readers import read_blocks
from services.backfill.inputs.values import interaction_fault, readable_id
from services.backfill.rows import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from services.backfill.inputs.columns import Strings


@dataclass(frozen=True, slots=True)
class Interactions:
    """A block of interactions, in the order of the input.

    Attributes:
        read: How many rows the block had, bad ones and those left out included.
        users: The block's users, each once.
        user_codes: For each interaction, which of them.
        items: For each interaction, the item's id.
        times: For each interaction, microseconds since 1970; 0 where the input has no times.
        bad: Rows that are no interactions.
    """

    read: int
    users: Strings
    user_codes: NDArray[np.int32]
    items: Strings
    times: NDArray[np.int64]
    bad: list[BadRow]


def read_interactions(path: Path, *, min_weight: float | None = None) -> Iterator[Interactions]:
    """Yields the interactions of a file or a folder in blocks.

    Args:
        path: The file or folder.
        min_weight: Leave out those with less weight. Without it, weights are not looked at.

    Raises:
        BackfillError: A file cannot be read, a column is missing, or some files have timestamps
            and others have none.
    """
    weighted = min_weight is not None
    columns = Columns(
        ("user_id", "item_id"), ("timestamp", "weight") if weighted else ("timestamp",)
    )
    timed: tuple[str, bool] | None = None
    for source in sources(path):
        for block in read_blocks(source, columns):
            if block.size:
                if weighted and "weight" not in block.columns:
                    raise BackfillError(f"{source.path} has no column 'weight' for min_weight")
                has = "timestamp" in block.columns
                if timed is not None and timed[1] != has:
                    one, other = (timed[0], source.name) if has else (source.name, timed[0])
                    raise BackfillError(
                        f"{path}: {one} has no timestamps and {other} has some; "
                        "which interaction is older cannot be told"
                    )
                timed = timed or (source.name, has)
            yield _checked(block, min_weight)


def _checked(block: Block, min_weight: float | None) -> Interactions:
    users, items = id_column(block.columns["user_id"]), id_column(block.columns["item_id"])
    bad = users.bad | items.bad
    times = np.zeros(block.size, dtype=np.int64)
    if "timestamp" in block.columns:
        times, wrong = time_column(block.columns["timestamp"])
        bad |= wrong
    keep = ~bad
    if min_weight is not None and block.size:
        weights = number_column(block.columns["weight"])
        bad = bad | np.isnan(weights)
        keep = ~bad & (weights >= min_weight)
    rows = [_bad_row(block, index, min_weight) for index in np.flatnonzero(bad).tolist()]
    return Interactions(
        read=block.size + len(block.bad),
        users=users.names,
        user_codes=_of(users, keep),
        items=items.names.take(_of(items, keep)),
        times=times if keep.all() else times[keep],
        bad=[*block.bad, *rows],
    )


def _of(ids: Ids, keep: NDArray[np.bool_]) -> NDArray[np.int32]:
    return ids.codes if keep.all() else ids.codes[keep]


def _bad_row(block: Block, index: int, min_weight: float | None) -> BadRow:
    row = block.row(index)
    why = interaction_fault(row.values, weighted=min_weight is not None)
    return BadRow(readable_id(row.values.get("user_id")), row.where, why, row.raw)
