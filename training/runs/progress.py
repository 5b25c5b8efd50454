"""Reports of progress, with the remaining time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PROGRESS_EVERY_S = 5.0


class ProgressReporter:
    """Reports progress every few seconds, and the end.

    Args:
        progress: Called with a line.
        what: What is counted, in the singular.
        total: How many there are.
        first: How many were done before the clock started.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        progress: Callable[[str], object],
        what: str,
        total: int,
        *,
        first: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._what = what
        self._total = total
        self._first = first
        self._clock = clock
        self._began = self._reported = clock()

    def at(self, done: int, note: str = "") -> None:
        """Reports how much is done, if the last report is old enough or all is done."""
        now = self._clock()
        if now - self._reported < _PROGRESS_EVERY_S and done < self._total:
            return
        self._reported = now
        each = (now - self._began) / max(1, done - self._first)
        left = round(each * (self._total - done))
        more = f", {note}" if note else ""
        self._progress(
            f"{self._what} {done:,} of {self._total:,}{more}, "
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )


def ignore(_: object) -> None:
    """Does nothing with a report."""
