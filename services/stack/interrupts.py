"""Turns signals that end a command into an exception, and defers it in critical sections."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the command to end. A BaseException, as KeyboardInterrupt is."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """The exit status that a shell reports for a command ended by the signal."""
        return 128 + self.number


class Interrupts:
    """A context manager that raises Interrupted on SIGINT, SIGTERM and SIGHUP.

    Code that must not be interrupted runs inside `held`: starting a process and recording it, and
    stopping processes. Only for the main thread.
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
            signal.signal(number, handler)  # type: ignore[arg-type] # returned by signal.signal()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Defers a signal that arrives inside the block to its end."""
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
