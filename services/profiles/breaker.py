"""A circuit breaker: after failures in a row, a dependency is left alone and probed now and then.

While it is open, callers are told at once what they would be told after a timeout. The state is
that of one process; the library is interlock. Why: docs/decisions/0023-overload.md.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeVar

from interlock import CircuitBreaker, CircuitOpenError, Config, State

from services.profiles.errors import ReclmError
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.profiles.telemetry import Metrics

T = TypeVar("T")

_FIRST_PAUSE_S = 1.0
"""How long it stays open the first time; each probe that fails doubles that, up to the limit."""

_PROBING_S = 0.25
"""For how long others are refused without another look while a probe is under way."""


class Clock:
    """Seconds that only grow."""

    def monotonic(self) -> float:
        """Returns the time."""
        return time.monotonic()


class _Listener:
    """Counts and logs what the circuit does."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._open = metrics.circuits_open.labels(name)
        self._refused = metrics.circuit_refusals.labels(name)
        self._open.set(0)

    def on_state_change(self, *, name: str, old: State, new: State) -> None:
        """Tells monitors."""
        del old
        self._open.set(0 if new is State.CLOSED else 1)
        LOGGER.warning("a circuit changed", extra={"data": {"circuit": name, "state": str(new)}})

    def on_call(self, **_: object) -> None:
        """Needs no counting: the calls are counted where they are made."""

    def on_rejected(self, *, name: str) -> None:
        """Counts a call that was not made."""
        del name
        self._refused.inc()

    def on_reset(self, *, name: str) -> None:
        """Happens by hand alone."""


class _Failing:
    """Decides that errors of one kind are failures of the dependency, unless it refused the call."""

    def __init__(self, failing: type[ReclmError], refusing: type[ReclmError]) -> None:
        self._failing = failing
        self._refusing = refusing

    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        """Returns whether a call counts as a failure."""
        del result
        return isinstance(exception, self._failing) and not isinstance(exception, self._refusing)


class Breaker:
    """Stands before one dependency.

    Args:
        name: Of the dependency, for monitors: model, encoder.
        failing: The errors that count as failures, and what callers get while it is open.
        refusing: Those of them that say nothing against the dependency.
        failures: Calls that fail one after another until it opens.
        longest_open_s: The longest time between two probes.
        metrics: Where its state is shown.
        clock: Of the process.
    """

    def __init__(
        self,
        name: str,
        *,
        failing: type[ReclmError],
        refusing: type[ReclmError],
        failures: int,
        longest_open_s: float,
        metrics: Metrics,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._failing = failing
        self._clock = clock or Clock()
        self._failures = failures
        self._refused_until = -math.inf
        self._why = ""
        self._circuit = CircuitBreaker(
            name=name,
            config=Config(
                failure_rate_threshold=1.0,
                minimum_number_of_calls=failures,
                window_size=failures,
                slow_call_duration_threshold=math.inf,
                permitted_calls_in_half_open=1,
                max_concurrent_probes=1,
                wait_duration_in_open=min(_FIRST_PAUSE_S, longest_open_s),
                wait_duration_backoff_multiplier=2.0,
                wait_duration_in_open_max=longest_open_s,
            ),
            clock=self._clock,
            classifier=_Failing(failing, refusing),
            listener=_Listener(name, metrics),
        )

    def refuse(self) -> None:
        """Raises what `call` would raise while the circuit is open; asks nobody.

        Raises:
            ReclmError: Of the kind `failing`.
        """
        left = self._refused_until - self._clock.monotonic()
        if self._circuit.state is not State.CLOSED and left > 0:
            raise self._open(left)

    async def call(
        self, ask: Callable[[], Awaitable[T]], *, probe: Callable[[], Awaitable[None]]
    ) -> T:
        """Asks the dependency, unless the circuit is open.

        Args:
            ask: The call.
            probe: Something quick that fails while the dependency is down. After a failure the call
                that tests for recovery begins with it.

        Raises:
            ReclmError: Of the kind `failing`, at once while the circuit is open; and what `ask`
                raises.
        """
        try:
            async with self._circuit:
                if self._circuit.state is State.HALF_OPEN:
                    await probe()
                return await ask()
        except CircuitOpenError as error:
            left = _PROBING_S if error.retry_after is None else error.retry_after
            self._refused_until = self._clock.monotonic() + left
            if isinstance(error.last_failure, ReclmError):
                self._why = error.last_failure.detail
            raise self._open(left) from error

    async def failed(self, error: ReclmError) -> None:
        """Counts a failure that happened outside of `call`."""
        try:
            async with self._circuit:
                raise error
        except (CircuitOpenError, ReclmError):
            return

    def _open(self, left: float) -> ReclmError:
        error = self._failing(
            f"the {self._name} failed {self._failures} times in a row and is left alone for "
            f"another {max(left, 0.1):.1f} s (the last time: {self._why or 'it did not answer'})"
        )
        error.retry_after = max(1.0, math.ceil(left))
        return error
