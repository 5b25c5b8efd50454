"""Shows how far a backfill is: rate, time left, hits, failures."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.backfill.outcomes import OutcomeCounts

_TTY_S = 0.5
_LOG_S = 10.0
_WINDOW_S = 60.0
"""The rate is that of so many seconds: what the model does now, not since a cold start."""


class Progress:
    """A line on a terminal, or one every ten seconds in a log, while it is entered.

    Args:
        counts: What is counted.
        total: Rows that there are.
        limit: Says how many requests may be under way now.
        stream: Where to; standard error by default.
    """

    def __init__(
        self,
        counts: OutcomeCounts,
        total: int,
        *,
        limit: Callable[[], int] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._counts = counts
        self._total = total
        self._limit = limit
        self._stream = stream or sys.stderr
        self._tty = self._stream.isatty()
        self._points: deque[tuple[float, int]] = deque()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._points.append((time.monotonic(), self._counts.rows))
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._thread.join()
        self._print(self.line(), last=True)

    def line(self) -> str:
        """Returns the state in one line."""
        now, rows = time.monotonic(), self._counts.rows
        self._points.append((now, rows))
        while now - self._points[0][0] > _WINDOW_S and len(self._points) > 2:
            self._points.popleft()
        since, before = self._points[0]
        rate = (rows - before) / max(now - since, 1e-9)
        counts = self._counts
        asked = counts.generated + counts.cached
        parts = [
            f"{rows:,}/{self._total:,} rows",
            f"{rate:,.1f}/s",
            f"{clock((self._total - rows) / rate)} left" if rate else "time left unknown",
            f"{counts.cached / asked:.0%} hits" if asked else "no answers yet",
            f"{counts.failed:,} failed",
        ]
        if counts.unchanged:
            parts.append(f"{counts.unchanged:,} done before")
        if counts.erased:
            parts.append(f"{counts.erased:,} erased")
        if self._limit is not None:
            parts.append(f"{self._limit()} at a time")
        return ", ".join(parts)

    def _show(self) -> None:
        while not self._done.wait(_TTY_S if self._tty else _LOG_S):
            self._print(self.line(), last=False)

    def _print(self, line: str, *, last: bool) -> None:
        if self._tty:
            self._stream.write(f"\r\x1b[2K{line}" + ("\n" if last else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def clock(seconds: float) -> str:
    """Returns a duration as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours:.0f}:{minutes:02.0f}:{seconds:02.0f}"
        if hours
        else f"{minutes:.0f}:{seconds:02.0f}"
    )
