"""Reports the steps of long work with the elapsed time."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Steps:
    """Prints the start and the duration of steps to standard error. Thread-safe."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Reports the start of a step, and its end with the duration in seconds."""
        began = time.monotonic()
        self.say(f"{what} ...")
        try:
            yield
        except BaseException:
            self.say(f"{what}: failed after {time.monotonic() - began:.0f} s")
            raise
        self.say(f"{what}: done in {time.monotonic() - began:.0f} s")

    def say(self, message: str) -> None:
        """Prints a line with the elapsed time."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        with self._lock:
            sys.stderr.write(f"[{minutes:2d}:{seconds:02d}] {message}\n")
            sys.stderr.flush()
