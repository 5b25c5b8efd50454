"""Lets large pieces of work on the event loop take turns with everything else.

Reading JSON holds the interpreter's lock, so that a thread would not help: what helps is that each
piece is short (`api/shape.py`), and that other requests are looked at between two of them.
"""

from __future__ import annotations

import asyncio

LARGE = 4096
"""Bytes of JSON from which a turn is taken: reading fewer takes less than a millisecond."""


class Turns:
    """Hands out one turn in each pass of the event loop, in the order of asking."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Waits for a turn. What is done before the next `await` is done in this turn."""
        async with self._lock:
            # Whoever waits for the lock is woken after this, and runs in the pass after that.
            await asyncio.sleep(0)
