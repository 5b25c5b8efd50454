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
    """Returns the items in the dataset's columns.

    Args:
        ids: One for each item.
        titles: Where one is empty, the id stands in for it, so that an item whose title is its id
            is one without a title.
        categories: Empty by default.
        descriptions: Empty by default.
    """
    none = [""] * len(ids)
    return pa.table(
        [
            pa.array(ids, pa.string()),
            pa.array([title or id_ for id_, title in zip(ids, titles, strict=True)], pa.string()),
            pa.array(none if categories is None else categories, pa.string()),
            pa.array(none if descriptions is None else descriptions, pa.string()),
        ],
        schema=pa.schema(ITEM_COLUMNS),
    )


def part_table(
    users: pa.Array[Any],
    items: pa.Array[Any],
    part: str | Sequence[str],
    *,
    times: NDArray[np.int64] | None = None,
) -> pa.Table:
    """Returns interactions of weight 1 with the part of the published split that they are in.

    Args:
        users: The user id of each.
        items: The item id of each.
        part: The part of all, or of each.
        times: The timestamp of each; 0 by default.
    """
    size = len(users)
    return pa.table(
        [
            users,
            items,
            pa.array(np.zeros(size, np.int64) if times is None else times),
            pa.array(np.ones(size, np.float32)),
            pa.array([part] * size if isinstance(part, str) else part, pa.string()),
        ],
        schema=pa.schema({**INTERACTION_COLUMNS, PART: pa.string()}),
    )
