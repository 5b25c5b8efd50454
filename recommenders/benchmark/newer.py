"""Items that are newer than what the writer of their profiles knows.

A language model may have read the reviews of an item of last year, and even the test data itself. A
gain on items from after its knowledge is the only one that memory cannot explain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from recommenders.benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_CUTOFF = re.compile(r"(\d{4})(?:-\d{2}(?:-\d{2})?)?")
_YEAR_OF_TITLE = re.compile(r"\((\d{4})\)\s*$")


def cutoff_year(cutoff: str) -> int:
    """Returns the year of a knowledge cutoff, such as `2023-12`.

    Raises:
        BenchmarkError: It is not a year, a month or a day.
    """
    found = _CUTOFF.fullmatch(cutoff)
    if found is None:
        raise BenchmarkError(
            f"knowledge_cutoff is {cutoff!r}; give a year, a month or a day, as in 2023-12"
        )
    return int(found[1])


def years(items: pa.Table) -> NDArray[np.int64]:
    """Returns each item's year: of its column `year`, or at the end of its title; 0 if unknown."""
    if "year" in items.column_names:
        return np.array([_number(value) for value in items["year"].to_pylist()], np.int64)
    found = (_YEAR_OF_TITLE.search(str(title)) for title in items["title"].to_pylist())
    return np.array([0 if one is None else int(one[1]) for one in found], np.int64)


def newer_than(items: pa.Table, cutoff: str | None) -> NDArray[np.bool_] | None:
    """Returns which items are from a later year than the cutoff.

    Those of the cutoff's own year count as known, as nobody can say from which month they are.

    Args:
        items: The dataset's items, in the order of their rows.
        cutoff: The knowledge cutoff; None if it is not known.

    Returns:
        (n_items,); None if the cutoff or all years are unknown.
    """
    if cutoff is None:
        return None
    last, found = cutoff_year(cutoff), years(items)
    return found > last if found.any() else None


def _number(value: object) -> int:
    text = str(value)
    return int(text) if re.fullmatch(r"\d{4}", text) else 0
