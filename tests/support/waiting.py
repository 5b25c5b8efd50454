"""Waits for asynchronous events."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, timeout_s: float = 120) -> T:
    """Returns the first truthy result of `probe`; fails after a timeout.

    The timeout is far above the expected time; it only ends a test that hangs.
    """
    until = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout_s:g} s; the last answer was {answer!r}")
        time.sleep(0.03)


async def eventually_async(probe: Callable[[], Awaitable[T]], *, timeout_s: float = 120) -> T:
    """Returns the first truthy result of `probe`; the asynchronous form of `eventually`."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = await probe()
            if answer:
                return answer
            await asyncio.sleep(0.01)
