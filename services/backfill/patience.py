"""Asks again for as long as trouble may pass by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, TypeVar

from services.backfill.errors import BackfillError
from services.backfill.makers import PushedBack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_SHORTEST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


class Stopped(Exception):
    """The job was told to stop, and there is no answer yet."""


async def patiently(
    ask: Callable[[], Awaitable[T]],
    *,
    patience_s: float,
    trouble: str,
    stop: asyncio.Event | None = None,
) -> T:
    """Returns the answer, after as many tries as it takes.

    Args:
        ask: Begins a try.
        patience_s: After how long to give up.
        trouble: What to say then, before the reason: "the service did not answer".
        stop: Begin no more tries when it is set.

    Raises:
        BackfillError: Every try was pushed back until then.
        Stopped: Every try was pushed back until `stop` was set.
    """
    stop = stop or asyncio.Event()
    until = time.monotonic() + patience_s
    pause = _SHORTEST_PAUSE_S
    while True:
        try:
            return await ask()
        except PushedBack as error:
            if time.monotonic() > until:
                raise BackfillError(f"for {patience_s:g} s {trouble}: {error.why}") from error
            wait = error.retry_after_s + random.uniform(0, pause)  # noqa: S311 - jitter
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await stop.wait()
                raise Stopped from error
            pause = min(2 * pause, _LONGEST_PAUSE_S)
