"""Turns the signals that end a command into an exception, raised where it does no harm."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the command to end. Not an Exception, as KeyboardInterrupt is none."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """What a shell reports for a command that the signal ended."""
        return 128 + self.number


class Interrupts:
    """Raises Interrupted on SIGINT, SIGTERM and SIGHUP while it is entered.

    Between starting a process and writing down that it runs, and while processes are stopped, a
    signal must wait: that code runs inside `held`. Only for the main thread.
    """

    def __init__(self) -> None:
        self._holds = 0
        self._pending: int | None = None
        self._before: list[object] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._handle) for number in _SIGNALS]
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() returned

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps a signal that arrives inside waiting until the end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._pending is not None and not self._holds:
                number, self._pending = self._pending, None
                raise Interrupted(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._holds:
            self._pending = number
        else:
            raise Interrupted(number)
