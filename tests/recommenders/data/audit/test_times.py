from __future__ import annotations

import numpy as np
import pytest

from recommenders.data.audit.times import Times, read_times
from recommenders.data.indexed import Indexed
from tests.recommenders.data.tiny import dataset

USERS, LENGTH, ITEMS = 60, 8, 40
NOON = 1_600_000_000


def sequences(*, seed: int = 0, shuffled: bool = False) -> list[list[int]]:
    """Each user chooses eight items of forty that come out one after the other, nearly in that order."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(USERS):
        chosen = rng.choice(ITEMS, LENGTH, replace=False)
        order = np.argsort(chosen + rng.normal(0, 8, LENGTH))
        found.append(chosen[rng.permutation(LENGTH) if shuffled else order].tolist())
    return found


def read(times: str, *, shuffled: bool = False, ordered_by_item: bool = False) -> Times:
    rng = np.random.default_rng(1)
    choices = []
    for user, chosen in enumerate(sequences(shuffled=shuffled)):
        for place, item in enumerate(sorted(chosen) if ordered_by_item else chosen):
            time = {
                "constant": 5,
                "positions": place,
                "positions from 1": place + 1,
                "rows": len(choices),
                "backwards": 10_000 - 7 * len(choices),
                "clock": NOON + int(rng.integers(10_000_000)),
                "some without": 0 if user % 4 == 0 else NOON + int(rng.integers(10_000_000)),
                "one moment": NOON + user,
            }[times]
            choices.append((f"u{user:02}", f"i{item:02}", time))
    return read_times(Indexed.of(dataset(choices)))


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        ("constant", "constant"),
        ("positions", "positions"),
        ("positions from 1", "positions"),
        ("rows", "file order"),
        ("backwards", "file order"),
        ("clock", "clock"),
        ("some without", "clock"),
    ],
)
def test_what_times_are_is_noticed(times: str, kind: str) -> None:
    assert read(times).kind == kind


def test_a_clock_is_sound_for_every_split() -> None:
    times = read("clock")
    assert times.without == 0
    for split in ("time", "leave-last-out", "random", ""):
        assert times.reasons(split) == []


@pytest.mark.parametrize("times", ["constant", "rows"])
@pytest.mark.parametrize("split", ["time", "leave-last-out"])
def test_what_is_no_time_is_a_reason_where_times_are_read(times: str, split: str) -> None:
    (reason,) = read(times).reasons(split)
    assert reason.startswith(f"split {split}: ")
    assert "import real times (`--time-column`), or take another split, such as random" in reason
    assert read(times).reasons("random") == []


def test_positions_are_an_order_within_users_and_no_time_between_them() -> None:
    times = read("positions")
    assert (times.order, times.p) == ("meaningful", 1 / 200)
    assert times.reasons("leave-last-out") == []
    (reason,) = times.reasons("time")
    assert "positions in each user's sequence, which mean nothing between users" in reason


def test_positions_in_shuffled_rows_are_no_order() -> None:
    times = read("positions", shuffled=True)
    assert times.order == "shuffled"
    (reason,) = times.reasons("leave-last-out")
    assert "no better than a random order" in reason


def test_positions_in_rows_sorted_by_item_are_no_order() -> None:
    times = read("positions", ordered_by_item=True)
    assert times.order == "by item"
    (reason,) = times.reasons("leave-last-out")
    assert "sorted by item" in reason


def test_interactions_at_time_0_among_others_are_without_a_time() -> None:
    times = read("some without")
    assert times.without == USERS * LENGTH // 4
    (reason,) = times.reasons("time")
    assert "120 interactions (25.0%) are at time 0" in reason
    assert len(times.reasons("leave-last-out")) == 1


def test_sequences_that_end_at_one_moment_are_in_the_tables_order() -> None:
    times = read("one moment")
    assert times.kind == "clock"
    assert (times.tied, times.users) == (USERS, USERS)
    (reason,) = times.reasons("leave-last-out")
    assert "60 of 60 users have their last two interactions at one time" in reason
    assert times.reasons("time") == []


def test_no_interactions_have_no_times() -> None:
    times = read_times(Indexed.of(dataset([], items=["a"])))
    assert (times.kind, times.users) == ("none", 0)
    assert times.reasons("time") == []
