"""Waits for what comes about by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, timeout_s: float = 20) -> T:
    """Returns the first truthy answer of `probe`; fails when there is none in time.

    The limit only ends a test that hangs: it is far above what is waited for.
    """
    until = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout_s:g} s; the last answer was {answer!r}")
        time.sleep(0.03)
