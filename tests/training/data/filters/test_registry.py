"""The contract of a filter of rows, over every entry of the registry."""

from __future__ import annotations

import pytest

from services.profiles.generation.grammar import parse
from tests.training.data.filters.test_rarity import ITEM, USERS
from training.data.filters.registry import FILTERS, FilterOptions, filter_rows

ECHO = (
    "User identity: film buff, patient viewer, night owl; User interests: slow drama, drama, spies."
)
PROFILES = [*(parse("user", text) for text in (*USERS, ECHO)), parse("item", ITEM)]
STRICT = FilterOptions(no_repetitive=True, rarest=0.5)


@pytest.mark.parametrize("name", FILTERS)
def test_the_defaults_keep_everything(name: str) -> None:
    assert FILTERS[name](PROFILES, FilterOptions()) == [True] * len(PROFILES)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_says_of_each_profile_whether_it_is_kept(name: str) -> None:
    kept = FILTERS[name](PROFILES, STRICT)
    assert len(kept) == len(PROFILES)
    assert set(kept) == {True, False}
    assert kept == FILTERS[name](PROFILES, STRICT)
    assert FILTERS[name]([], STRICT) == []


def test_each_filter_sees_what_the_ones_before_have_kept() -> None:
    found = filter_rows(PROFILES, STRICT)
    assert list(found.dropped) == list(FILTERS)
    assert found.kept.count(False) == sum(found.dropped.values())
    alone = FILTERS["repetitive"](PROFILES, STRICT)
    assert found.dropped["repetitive"] == alone.count(False)
    left = [profile for profile, keep in zip(PROFILES, alone, strict=True) if keep]
    assert found.dropped["bland"] == FILTERS["bland"](left, STRICT).count(False)
