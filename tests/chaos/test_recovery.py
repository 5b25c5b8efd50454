"""The time to recover, and a plan that its seed repeats."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.chaos.history import Call
from tests.chaos.plan import plan
from tests.chaos.recovery import Recovery, is_good


def call(
    kind: str,
    begun: float,
    *,
    took: float = 0.5,
    status: int | None = 200,
    operation: str = "profile",
    answer: Any = None,
) -> Call:
    ended = begun + took
    return Call(1, operation, kind, 1, 0, None, None, begun, ended, status, answer=answer)


def seconds(*calls: Call, kinds: tuple[str, ...] = ("hit",)) -> float | None:
    recovery = Recovery(10, version=lambda: "new", kinds=frozenset(kinds))
    for one in calls:
        recovery.saw(one)
    return recovery.seconds()


def test_the_first_of_three_good_answers_counts() -> None:
    good = [call("hit", at) for at in (12, 13, 14)]
    assert seconds(*good[:2]) is None
    assert seconds(*good) == 2.5


def test_a_bad_answer_begins_the_row_again() -> None:
    calls = [call("hit", 12), call("hit", 13, status=503), *(call("hit", at) for at in (14, 15))]
    assert seconds(*calls) is None
    assert seconds(*calls, call("hit", 16)) == 4.5


def test_a_relapse_is_not_a_recovery() -> None:
    good = [call("hit", at) for at in (12, 13, 14)]
    assert seconds(*good, call("hit", 15, status=None)) is None


def test_requests_of_before_do_not_count() -> None:
    assert seconds(*(call("hit", at, took=5) for at in (7, 8, 9))) is None


def test_every_kind_has_to_recover() -> None:
    hits = [call("hit", at) for at in (12, 13, 14)]
    assert seconds(*hits, kinds=("hit", "miss")) is None
    misses = [call("miss", at) for at in (16, 17, 18)]
    assert seconds(*hits, *misses, kinds=("hit", "miss")) == 6.5


@pytest.mark.parametrize(
    ("operation", "status", "answer", "good"),
    [
        ("profile", 200, {"status": "generated"}, True),
        ("profile", 200, {"status": "cached"}, True),
        ("profile", 200, {"status": "stale", "version": {"base_model": {"name": "new"}}}, False),
        ("profile", 200, {"status": "stale", "version": {"base_model": {"name": "old"}}}, True),
        ("profile", 409, {"code": "erased"}, True),
        ("activate", 409, {"code": "bundle-refused"}, False),
        ("profile", 200, {"status": "degraded"}, False),
        ("profile", 404, None, False),
        ("profile", 503, None, False),
        ("profile", None, None, False),
        ("read", 404, None, True),
        ("read", 200, {"status": "stale"}, True),
        ("profile by id", 422, None, True),
        ("event", 202, {"events": 1}, True),
        ("event", 422, None, False),
        ("score", 200, {"profile": None}, True),
        ("score", 200, {"profile": {"status": "degraded"}}, False),
    ],
)
def test_good_answers(operation: str, status: int | None, answer: Any, good: bool) -> None:
    one = call("hit", 1, operation=operation, status=status, answer=answer)
    assert is_good(one, version="new") is good


LENGTHS = {"redis-killed": (1.0, 2.0), "worker-killed": (0.0, 0.0), "disk-full": (3.0, 5.0)}


def test_a_seed_repeats_its_plan() -> None:
    first, again, other = (list(itertools.islice(plan(seed, LENGTHS), 30)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_round_of_a_plan_has_all_faults_within_their_lengths() -> None:
    planned = list(itertools.islice(plan(7, LENGTHS), 30))
    for start in range(0, 30, 3):
        assert {one.fault for one in planned[start : start + 3]} == LENGTHS.keys()
    for one in planned:
        low, high = LENGTHS[one.fault]
        assert low <= one.lasts_s <= high
