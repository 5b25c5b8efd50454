"""Lets work on the event loop take turns with everything else.

Reading and writing JSON holds the interpreter's lock, so that a thread would not help: what helps is
that each piece is short (`api/shape.py`), and that other requests are looked at after a few.
"""

from __future__ import annotations

import asyncio
import time

LARGE = 4096
"""Bytes of JSON from which a single request takes a turn: fewer are read in less than a millisecond."""

_SLICE_S = 0.005


class Turns:
    """Hands out turns until a pass of the event loop has taken some milliseconds; then in the next.

    Args:
        slice_s: Seconds after which no more turns are begun in a pass.
    """

    def __init__(self, slice_s: float = _SLICE_S) -> None:
        self._slice_s = slice_s
        self._began: float | None = None

    async def take(self) -> None:
        """Waits for a turn. What is done before the next `await` is done in this turn."""
        while True:
            now = time.perf_counter()
            if self._began is None:
                self._began = now
                # Runs in the next pass, before all who wait here.
                asyncio.get_running_loop().call_soon(self._next)
                return
            if now - self._began < self._slice_s:
                return
            await asyncio.sleep(0)

    def _next(self) -> None:
        self._began = None
