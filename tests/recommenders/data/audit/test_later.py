from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.audit.later import LaterKnowledge, find_later
from recommenders.data.indexed import Indexed
from recommenders.data.splits import parse
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from recommenders.data.dataset import Dataset

# Films of 1990 to 1999; i5 and above are cold.
TITLES = [f"Story {number} ({1990 + number})" for number in range(10)]
FAIR = {f"i{number}": f"A drama of {1990 + number} about the 1950s." for number in range(10)}


def films(time: int = 0) -> Dataset:
    rows = [(f"u{user}", f"i{item}", "train") for user in range(6) for item in range(5)]
    rows += [(f"u{user}", f"i{item}", "cold-items/test") for user in range(6) for item in (5, 6, 7)]
    rows += [
        (f"u{user}", f"i{item}", "cold-items/validation") for user in range(6) for item in (8, 9)
    ]
    return dataset(
        [(user, item, time) for user, item, _ in rows],
        parts=[part for *_, part in rows],
        titles=TITLES,
        descriptions=["set in 1999, after an award"] + [""] * 9,
    )


def find(
    profiles: Mapping[str, str], of: Literal["users", "items"] = "items", time: int = 0
) -> LaterKnowledge:
    data = films(time)
    return find_later(profiles, of, parse("published").divide(data), data, Indexed.of(data))


def test_profiles_that_know_nothing_later_pass() -> None:
    found = find(FAIR)
    assert (found.profiles, found.cold, found.cut) == (10, 5, 1994)
    assert (found.later, found.awards) == (0, 0)
    assert found.reasons() == []


def test_years_after_the_year_of_a_cold_item_are_found() -> None:
    late = {f"i{number}": "It was remade in 2004." for number in (5, 6, 7)}
    found = find({**FAIR, **late})
    assert found.later == 3
    (reason,) = found.reasons()
    assert reason == (
        "3 of 10 profiles of items name years after 1994 or a new item's own (such as i5, i6, i7)"
    )


def test_an_item_of_training_may_name_years_up_to_the_cut() -> None:
    assert find({**FAIR, "i0": "Remade in 1994."}).later == 0
    assert find({**FAIR, "i1": "Remade in 1995."}).later == 1


def test_awards_of_cold_items_are_found_and_of_others_only_with_a_later_year() -> None:
    told = {f"i{number}": "It won five Academy Awards." for number in range(10)}
    found = find(told)
    assert found.awards == 5
    assert "5 of 10 profiles of items name awards or successes" in found.reasons()[0]
    assert find({"i1": "Winner of the 1996 Golden Globes."}).awards == 1
    assert find({"i1": "Winner of the 1992 Golden Globes."}).awards == 0


def test_what_the_items_own_text_has_is_no_leak() -> None:
    assert find({"i0": "It is set in 1999, after an award of 1999."}).later == 0


@pytest.mark.parametrize(
    "text",
    ["It has 2000,5 parts.", "He is in room 20011.", "The 2010s.", "In the year 2099.", "$2001"],
)
def test_what_is_no_year_of_the_time_after_is_not_read(text: str) -> None:
    assert find({"i9": text}).later == 0


def test_a_few_are_no_reason() -> None:
    assert find({**FAIR, "i5": "Remade in 2004.", "i6": "It won an award."}).reasons() == []


def test_the_clock_is_the_cut_for_users() -> None:
    profiles = {f"u{user}": "Loves what won an Oscar-nomination in 2003." for user in range(6)}
    march_2001, march_2005 = 984_000_000, 1_110_000_000
    found = find(profiles, "users", march_2001)
    assert (found.cut, found.later, found.awards) == (2001, 6, 6)
    assert len(found.reasons()) == 2
    assert find(profiles, "users", march_2005).reasons() == []
    assert find({"nobody": "2003"}, "users").unknown == 1
