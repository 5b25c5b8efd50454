"""How far long work is, and how long the rest takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PROGRESS_EVERY_S = 5.0


class ProgressReporter:
    """Tells of progress every few seconds, and of the end.

    Args:
        progress: Told a line.
        what: Is counted, in the singular.
        total: There are of it.
        first: Was done before the clock started.
        clock: Seconds that only go up.
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
        self._print_progress = progress
        self._what = what
        self._total = total
        self._first = first
        self._clock = clock
        self._began = self._told = clock()

    def at(self, done: int, note: str = "") -> None:
        """Tells how much is done, if it is time to."""
        now = self._clock()
        if now - self._told < _PROGRESS_EVERY_S and done < self._total:
            return
        self._told = now
        each = (now - self._began) / max(1, done - self._first)
        left = round(each * (self._total - done))
        more = f", {note}" if note else ""
        self._print_progress(
            f"{self._what} {done:,} of {self._total:,}{more}, "
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )


def ignore(_: object) -> None:
    """Is told, and does nothing."""
