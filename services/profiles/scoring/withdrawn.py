"""Which rows of a bundle are withdrawn at the moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class WithdrawnRows:
    """Follows the catalogue for the items of one bundle, with eight bytes for each.

    Args:
        rows: By item id.
    """

    def __init__(self, rows: Mapping[str, int]) -> None:
        self._rows = rows
        self._from_ms = np.full(len(rows), np.inf)
        self._in_order: tuple[NDArray[np.intp], NDArray[np.float64]] | None = None

    def follow(self, item_id: str, withdrawn_ms: int | None) -> None:
        """Takes note of from when on an item is withdrawn; None for never."""
        row = self._rows.get(item_id)
        if row is not None:
            self._from_ms[row] = np.inf if withdrawn_ms is None else withdrawn_ms
            self._in_order = None

    def now(self) -> NDArray[np.intp]:
        """Returns the rows that are withdrawn at this moment, in no order."""
        if self._in_order is None:
            rows = np.flatnonzero(self._from_ms < np.inf)
            rows = rows[np.argsort(self._from_ms[rows], kind="stable")]
            self._in_order = rows, self._from_ms[rows]
        rows, times = self._in_order
        return rows[: np.searchsorted(times, time.time() * 1000, side="right")]
