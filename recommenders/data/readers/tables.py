"""The two tables that every source becomes, in the dataset's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from recommenders.data.dataset import INTERACTION_COLUMNS, ITEM_COLUMNS
from recommenders.data.split import COLD_ITEMS, WARM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PART = "part"
"""The column that says which part of a published split an interaction is in."""

TRAIN = "train"
WARM_VALIDATION, WARM_TEST = f"{WARM}/validation", f"{WARM}/test"
COLD_VALIDATION, COLD_TEST = f"{COLD_ITEMS}/validation", f"{COLD_ITEMS}/test"


def items_table(
    ids: Sequence[str],
    titles: Sequence[str],
    categories: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
) -> pa.Table:
    """Returns the items in the dataset's columns, without categories or descriptions by default.

    Where a title is empty, the id stands in for it: an item whose title is its id has no title.
    """
    none = [""] * len(ids)
    titled = [title or id_ for id_, title in zip(ids, titles, strict=True)]
    columns = (ids, titled, categories or none, descriptions or none)
    return pa.table(dict(zip(ITEM_COLUMNS, columns, strict=True)), schema=pa.schema(ITEM_COLUMNS))


def part_table(
    users: pa.Array[Any],
    items: pa.Array[Any],
    part: str,
    *,
    times: NDArray[np.int64] | None = None,
) -> pa.Table:
    """Returns interactions of weight 1, all in one part of the published split; times are 0 by default."""
    size = len(users)
    times = np.zeros(size, np.int64) if times is None else times
    columns = (users, items, times, np.ones(size, np.float32), [part] * size)
    schema = pa.schema({**INTERACTION_COLUMNS, PART: pa.string()})
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)
