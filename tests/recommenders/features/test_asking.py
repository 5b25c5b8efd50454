"""The requests to the service for a snapshot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reclm_client import Component, ProfileRequest, ProfileRow
from reclm_client.schemas import adapter
from reclm_client.schemas.item import ItemText
from recommenders.data.errors import DatasetError
from recommenders.data.split import COLD_USERS
from recommenders.data.splits.text import read_plan
from recommenders.features.journal import Journal
from recommenders.features.service import FetchOptions, ProfileRequests, request_profiles
from tests.recommenders.data.tiny import dataset
from tests.recommenders.features.test_journal import profile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reclm_client import Kind


def test_new_users_are_requested_with_only_their_first_clicks() -> None:
    random = np.random.default_rng(0)
    choices = [
        (f"u{user}", f"i{item}", int(random.integers(1_000)))
        for user in range(20)
        for item in range(8)
    ]
    whole = dataset(choices, items=[f"i{item}" for item in range(8)])
    split = read_plan("cold-users,share=0.4,known=4,seed=1").divide(whole)
    everybody = ProfileRequests(whole, split, FetchOptions())
    new_users = ProfileRequests(whole, split, FetchOptions(known=2))
    cold = [
        part.users
        for part in (split.scenarios[COLD_USERS].validation, split.scenarios[COLD_USERS].test)
    ]
    assert len(new_users.user_ids) == sum(map(len, cold)) == 8
    assert set(new_users.user_ids) < set(everybody.user_ids)
    wanted, requests = new_users.of("user")
    assert wanted
    for id_, request in requests(wanted):
        own = sorted((time, item) for user, item, time in choices if user == id_)
        assert [item.id for item in request.history] == [item for _, item in own[:2]]
        assert "/first-2/" in request.id


def test_texts_that_are_too_long_for_the_service_are_cut_at_a_word() -> None:
    long = ", ".join(f"word{number}" for number in range(200))
    early = "a " + "y" * 600
    whole = dataset(
        [("u", "a", 0), ("u", "b", 1)], items=["a", "b", "c"], titles=[long, "x" * 600, early]
    )
    wanted, requests = ProfileRequests(whole, None, FetchOptions()).of("item")
    titles = {id_: request.item.title for id_, request in requests(wanted) if request.item}
    assert titles["b"] == "x" * 512
    assert titles["c"] == early[:512]
    assert long.startswith(titles["a"] + ", word")
    assert 500 < len(titles["a"]) <= 512
    assert titles.keys() == {"a", "b", "c"}
    for title in titles.values():
        sent = json.dumps({"title": title})
        assert adapter(ItemText).validate_json(sent).title == title


def test_an_items_neighbours_do_not_depend_on_the_other_requests() -> None:
    choices = [("u", item, 0) for item in "abc"] + [("v", item, 1) for item in "cd"]
    choices += [("w", item, 2) for item in "abcd"]
    whole = dataset(choices, items=list("abcd"))
    split = read_plan("cold-items,share=0.5,seed=1").divide(whole)
    made = ProfileRequests(whole, split, FetchOptions(neighbours=2))
    wanted, requests = made.of("item")
    everything = dict(requests(wanted))
    assert list(everything) == wanted == list("abcd")
    assert any(request.history for request in everything.values())
    assert list(requests(["d", "a"])) == [(id_, everything[id_]) for id_ in ("d", "a")]
    assert list(requests([])) == []


class Changed:
    """A service whose version has changed."""

    def profiles(self, kind: Kind, requests: Iterator[ProfileRequest]) -> Iterator[ProfileRow]:
        for row, request in enumerate(requests):
            yield ProfileRow(row, request.id, 200, profile("text", 1.0), None)


def test_when_the_version_changes_the_folder_to_delete_is_named(tmp_path: Path) -> None:
    other = replace(profile("").version, prompt=Component("p", "2"))
    (tmp_path / "snapshot.partial").mkdir()
    with Journal(tmp_path / "snapshot.partial" / "users.ndjson") as journal:
        rows = iter([("u", ProfileRequest("u", embedding=True))])
        asked = request_profiles(
            Changed(),  # type: ignore[arg-type]  # a client with only this method
            "user",
            rows,
            journal=journal,
            version=other,
        )
        with pytest.raises(DatasetError, match=r"delete .*/snapshot\.partial and run the command"):
            list(asked)
