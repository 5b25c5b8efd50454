from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profiles.domain.profile import (
    Component,
    Item,
    ProfileKey,
    ProfileText,
    ProfileVersion,
    canonical_hash,
    timestamp,
)
from services.profiles.domain.requests import NOTHING, ProfileRequest

PARTS = st.lists(st.text(max_size=6), max_size=5)
KEY = ProfileKey("t", "user", "u")


@given(one=PARTS, other=PARTS)
def test_different_parts_hash_differently(one: list[str], other: list[str]) -> None:
    assert (canonical_hash(one, size=16) == canonical_hash(other, size=16)) == (one == other)


@given(parts=PARTS.filter(bool), data=st.data())
def test_moving_a_boundary_between_parts_changes_the_hash(
    parts: list[str], data: st.DataObject
) -> None:
    whole = "".join(parts)
    at = data.draw(st.integers(0, len(whole)))
    moved = [whole[:at], whole[at:]]
    assert (canonical_hash(parts, size=16) == canonical_hash(moved, size=16)) == (parts == moved)


def test_a_hash_is_the_same_in_every_process() -> None:
    assert canonical_hash(["user", "Zoë"], size=8).hex() == "c70023307c2d8a5b"


@pytest.mark.parametrize(
    "other",
    [
        ProfileRequest(KEY, ("a",)),
        ProfileRequest(KEY, ("b", "a")),
        ProfileRequest(KEY, (Item("", "a"), "b")),
        ProfileRequest(KEY, (Item("a", "a"), "b")),
        ProfileRequest(KEY, (Item("", "a", "x"), "b")),
        ProfileRequest(KEY, ("a", "b"), Item("", "a")),
    ],
)
def test_a_digest_tells_requests_apart(other: ProfileRequest) -> None:
    assert other.digest() not in {NOTHING, ProfileRequest(KEY, ("a", "b")).digest()}


def test_a_digest_is_over_what_is_referred_to_alone() -> None:
    request = ProfileRequest(KEY, ("a", "b"))
    other = ProfileRequest(
        ProfileKey("t", "user", "v"), ("a", "b"), refresh=True, max_age_s=1, deadline_s=1
    )
    assert request.digest() == other.digest()
    assert ProfileRequest(KEY).digest() == NOTHING


def test_a_version_is_known_by_each_of_its_parts() -> None:
    one, two = Component("a", "1"), Component("a", "2")
    versions = {
        ProfileVersion(one, None, one, one).digest(),
        ProfileVersion(two, None, one, one).digest(),
        ProfileVersion(one, one, one, one).digest(),
        ProfileVersion(one, None, two, one).digest(),
        ProfileVersion(one, None, one, two).digest(),
    }
    assert len(versions) == 5


def test_the_text_has_the_form_of_the_paper() -> None:
    words = ProfileText("user", ("a b", "c d", "e f"), ("g h", "i j", "k l"))
    assert words.text == "User identity: a b, c d, e f; User interests: g h, i j, k l."


def test_times_are_utc_in_whole_seconds() -> None:
    assert timestamp(1_767_225_599_999) == "2025-12-31T23:59:59Z"
