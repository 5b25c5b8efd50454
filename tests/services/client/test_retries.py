from __future__ import annotations

import math

import pytest

from reclm_client.errors import ConnectionFailed, InvalidRequest, MalformedAnswer, Unavailable
from reclm_client.retries import Attempts, Repeat, Retries, Timeouts, may_repeat

UNSENT = ConnectionFailed("refused", sent=False)
CUT = ConnectionFailed("cut", sent=True)


def unavailable(status: int, retry_after: float | None = None) -> Unavailable:
    return Unavailable(status, "overloaded", "later", {}, retry_after)


@pytest.mark.parametrize(
    ("failure", "allowed"),
    [
        (UNSENT, {"unprocessed", "always"}),
        (unavailable(429), {"unprocessed", "always"}),
        (unavailable(503), {"unprocessed", "always"}),
        (unavailable(502), {"always"}),
        (unavailable(504), {"always"}),
        (Unavailable(502, "model-refused", "no", {"code": "model-refused"}, None), set()),
        (Unavailable(502, "malformed", "no", {"code": "malformed"}, 5), {"always"}),
        (CUT, {"always"}),
        (MalformedAnswer("what"), set()),
        (InvalidRequest(422, "c", "d", {}, None), set()),
    ],
)
def test_what_may_be_repeated(failure: Unavailable, allowed: set[Repeat]) -> None:
    repeats: tuple[Repeat, ...] = ("never", "unprocessed", "always")
    assert {repeat for repeat in repeats if may_repeat(failure, repeat)} == allowed


def delays(policy: Retries, failure: Unavailable | ConnectionFailed, draw: float) -> list[float]:
    attempts = Attempts(policy, uniform=lambda: draw)
    found = []
    while (delay := attempts.delay(failure, repeat="always")) is not None:
        found.append(delay)
    return found


def test_the_backoff_doubles_up_to_its_limit_and_jitter_reaches_zero() -> None:
    policy = Retries(attempts=6, backoff_s=1, max_backoff_s=5)
    assert delays(policy, CUT, 1.0) == [1, 2, 4, 5, 5]
    assert delays(policy, CUT, 0.0) == [0, 0, 0, 0, 0]


def test_what_the_service_says_is_waited_for_up_to_a_limit() -> None:
    policy = Retries(attempts=3, backoff_s=1, max_retry_after_s=30)
    assert delays(policy, unavailable(429, 7), 0.5) == [7.5, 8]
    assert delays(policy, unavailable(429, 3600), 0.0) == [30, 30]


def test_progress_starts_the_count_again() -> None:
    attempts = Attempts(Retries(attempts=2), uniform=lambda: 0.0)
    assert attempts.delay(CUT, repeat="always") == 0
    attempts.progress()
    assert attempts.delay(CUT, repeat="always") == 0
    assert attempts.delay(CUT, repeat="always") is None


def test_no_wait_goes_past_the_time_that_is_left() -> None:
    attempts = Attempts(Retries(), uniform=lambda: 0.0)
    assert attempts.delay(unavailable(503, 2), repeat="always", remaining_s=2.5) == 2
    assert attempts.delay(unavailable(503, 2), repeat="always", remaining_s=1.5) is None


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_timeouts_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="read timeout"):
        Timeouts(read=value)
    with pytest.raises(ValueError, match="attempts"):
        Retries(attempts=0)
