"""How long to wait, and what to send again: decisions without any I/O."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reclm_client.errors import ConnectionFailed, ReclmClientError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

Repeat = Literal["never", "unprocessed", "always"]
"""When a call may be sent again: never; only if the service has not begun to work on it; always."""

_uniform = random.SystemRandom().random
"""Jitter from the system: forked workers that shared a seed would all come back at once."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds on what the client waits for.

    Attributes:
        connect: For a connection to be made.
        read: For the next bytes of an answer. The default is longer than the service's own limit
            on generating, so that its answer tells what went wrong.
        total: For a call with all its retries; no attempt begins after it, and one under way ends
            at its next silence. A batch has no total: it goes on for as long as answers arrive.
    """

    connect: float = 2.0
    read: float = 130.0
    total: float = 150.0

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"the {name} timeout must be a positive number, not {value}")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after how long, to try again what is safe to repeat.

    The wait before try k is drawn evenly from 0 to `backoff_s * 2**(k - 1)`, at most
    `max_backoff_s`; where the service said when to come back, this is added to what it said.

    Attributes:
        attempts: Tries in all; 1 never repeats. In a batch, tries without a single new answer.
        max_retry_after_s: The longest wait that the service may ask for; longer ones are cut.
    """

    attempts: int = 5
    backoff_s: float = 0.1
    max_backoff_s: float = 5.0
    max_retry_after_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")


def may_repeat(failure: ReclmClientError, repeat: Repeat) -> bool:
    """Says whether a call that failed so may be sent again.

    A connection that was never made, 429 and 503 mean that nothing was done. A cut connection, a
    timeout, and a gateway's 502 and 504 leave it open. A problem of the service without a
    Retry-After will be the same next time.
    """
    if repeat == "never":
        return False
    match failure:
        case ConnectionFailed(sent=False) | Unavailable(status=429 | 503):
            return True
        case Unavailable(retry_after=None) if failure.problem:
            return False
        case ConnectionFailed() | Unavailable():
            return repeat == "always"
        case _:
            return False


class Attempts:
    """Counts the tries of one call and says how long to wait before the next."""

    def __init__(self, policy: Retries, *, uniform: Callable[[], float] = _uniform) -> None:
        self._policy = policy
        self._uniform = uniform
        self._failed = 0

    def progress(self) -> None:
        """Starts the count again: an answer arrived."""
        self._failed = 0

    def delay(
        self, failure: ReclmClientError, *, repeat: Repeat, remaining_s: float = math.inf
    ) -> float | None:
        """Counts a failure.

        Returns:
            Seconds to wait before the next try; None when the failure is final: the call may not
            be repeated, all tries are used, or the wait would not end in the time that remains.
        """
        self._failed += 1
        if self._failed >= self._policy.attempts or not may_repeat(failure, repeat):
            return None
        ceiling = self._policy.backoff_s * 2.0 ** min(self._failed - 1, 32)
        delay = self._uniform() * min(ceiling, self._policy.max_backoff_s)
        if isinstance(failure, Unavailable) and failure.retry_after is not None:
            delay += min(failure.retry_after, self._policy.max_retry_after_s)
        return delay if delay < remaining_s else None
