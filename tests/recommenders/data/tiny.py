"""Datasets that are small enough to compute results by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from recommenders.data.dataset import INTERACTION_COLUMNS, ITEM_COLUMNS, Dataset, DatasetInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

    from recommenders.data.indexed import Indexed


def dataset(
    choices: Sequence[tuple[str, str, int]],
    *,
    items: Sequence[str] = (),
    parts: Sequence[str | None] | None = None,
    titles: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
) -> Dataset:
    """Makes a dataset of (user, item, time). `items` come first, then the others by name."""
    names = list(dict.fromkeys([*items, *sorted({item for _, item, _ in choices})]))
    texts = [titles or names, categories or [""] * len(names), descriptions or [""] * len(names)]
    users, chosen, times = zip(*choices, strict=True) if choices else ((), (), ())
    table = pa.table(
        [users, chosen, times, [1.0] * len(choices)], schema=pa.schema(INTERACTION_COLUMNS)
    )
    if parts is not None:
        table = table.append_column("part", pa.array(parts, pa.string()))
    return Dataset(
        DatasetInfo(name="tiny", source="a test", licence="none"),
        pa.table([names, *texts], schema=pa.schema(ITEM_COLUMNS)),
        table,
    )


def named(matrix: sparse.csr_array, indexed: Indexed) -> set[tuple[str, str]]:
    """Returns the pairs of a matrix as ids."""
    rows, columns = matrix.nonzero()
    return {
        (indexed.user_ids[row], indexed.item_ids[column])
        for row, column in zip(rows, columns, strict=True)
    }
