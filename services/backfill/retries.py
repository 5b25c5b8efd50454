"""Repeats a request while the failure may be temporary."""

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
    """The job is to stop, and there is no answer yet."""


async def retry(
    ask: Callable[[], Awaitable[T]],
    *,
    patience_s: float,
    trouble: str,
    stop: asyncio.Event | None = None,
) -> T:
    """Returns the answer, after as many attempts as it needs.

    Args:
        ask: Starts an attempt.
        patience_s: Seconds after which to give up.
        trouble: The error's words before its reason: "the service did not answer".
        stop: No further attempt is started when it is set.

    Raises:
        BackfillError: Every attempt was refused for now until then.
        Stopped: Every attempt was refused for now until `stop` was set.
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
