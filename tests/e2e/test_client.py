"""Both clients against the real service on its real stack."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from reclm_client import (
    InvalidRequest,
    Item,
    NotFound,
    ProfileRequest,
    ReclmClient,
)
from tests.support.blocking import Blocking
from tests.support.profiles import copy_profile
from tests.support.servers import RedisServer, Service, successes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reclm_client import Profile

pytestmark = [pytest.mark.stack, pytest.mark.model]

HISTORY = (Item("", "Heat (1995)", "Action, Crime, Thriller"), Item("", "Casino (1995)", "Drama"))
READERS = [f"client reader {number}" for number in range(300)]


@pytest.fixture(scope="module")
def source(service: Service, redis_server: RedisServer) -> Profile:
    """A profile from the model, and 300 copies of it under other ids."""
    with ReclmClient(service.url) as client:
        profile = client.profile("user", "client: source/1", history=HISTORY)
    copy_profile(redis_server.client(), profile.id, READERS)
    return profile


@pytest.fixture(params=[ReclmClient, Blocking], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, service: Service) -> Iterator[Any]:
    client = request.param(service.url)
    yield client
    client.close()


def test_a_profile_from_first_to_last(client: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    made = client.profile("user", name, history=HISTORY, embedding=True)
    again = client.profile("user", name, history=HISTORY, embedding=True)
    read = client.get_profile("user", name)

    assert (made.status, again.status, read.status) == ("generated", "cached", "cached")
    assert made.text == again.text == read.text
    assert len(made.identities) == len(made.interests) == 3
    assert made.embedding == again.embedding
    assert np.linalg.norm(made.embedding) == pytest.approx(1, abs=1e-3)
    assert read.embedding is None
    assert made.version.base_model.name == "SmolLM2-135M-Instruct"

    for _ in range(2):
        client.delete_profile("user", name)
    with pytest.raises(NotFound) as gone:
        client.get_profile("user", name)
    assert gone.value.code == "profile-not-found"


def test_an_item_of_the_catalogue_is_profiled(client: Any, request: pytest.FixtureRequest) -> None:
    item = Item(f"film/{request.node.name}", "Babe (1995)", "Children's, Comedy, Drama")
    assert client.put_item(item) == item

    profile = client.profile("item", item.id)

    assert (profile.kind, profile.id, profile.status) == ("item", item.id, "generated")
    assert len(profile.identities) == len(profile.interests) == 5


def test_hundreds_of_hits_stream_in_order(client: Any, source: Profile, vllm_url: str) -> None:
    asked = successes(vllm_url)
    wanted: list[ProfileRequest] = [ProfileRequest(id_, history=HISTORY) for id_ in READERS]
    wanted.insert(100, ProfileRequest("client stranger", history=["no such film"]))
    wanted.insert(200, ProfileRequest(""))

    rows = list(client.profiles("user", iter(wanted)))

    assert [row.row for row in rows] == list(range(302))
    nameless, unknown = rows.pop(200), rows.pop(100)
    assert [row.id for row in rows] == READERS
    for row in rows:
        assert (row.status_code, row.error, row.profile.status) == (200, None, "cached")
        assert row.profile.id == row.id
        assert row.profile.identities[0] == f"reader {row.id}"
        assert row.profile.input_hash == source.input_hash
    assert isinstance(unknown.error, InvalidRequest)
    assert (unknown.status_code, unknown.error.code) == (422, "unknown-items")
    assert unknown.error.problem["unknown"] == ["no such film"]
    assert (nameless.status_code, nameless.error.code) == (422, "invalid-input")
    assert successes(vllm_url) == asked


def test_an_endless_batch_is_read_as_far_as_it_is_asked_for(client: Any, source: Profile) -> None:
    endless = (ProfileRequest(READERS[number % 300]) for number in count())
    rows = client.profiles("user", endless)
    taken = [next(rows).id for _ in range(700)]
    rows.close()
    assert taken == (READERS * 3)[:700]


def test_vectors_of_many(client: Any, source: Profile) -> None:
    vector = client.profile("user", source.id, embedding=True).embedding
    ids = [*READERS[:150], "client nobody", *READERS[150:]]

    found = client.embeddings("user", ids)

    assert found.ids == tuple(ids)
    assert found.vectors.shape == (301, 384)
    assert found.vectors.dtype == np.float32
    assert np.flatnonzero(~found.found).tolist() == [150]
    assert not found.vectors[150].any()
    np.testing.assert_array_equal(
        found.vectors[found.found], np.tile(np.asarray(vector, np.float32), (300, 1))
    )
    assert found.versions[150] is None
    assert len({version for version in found.versions if version}) == 1


def test_the_catalogue(client: Any, request: pytest.FixtureRequest) -> None:
    word = f"quokka{request.node.callspec.id}"
    items = [
        Item(f"{word}: {number:03}/x", f"{word} {number}", "Nature", "On an island.")
        for number in range(250)
    ]
    rows = list(client.put_items([*items, Item("no title", "")]))

    assert [row.id for row in rows] == [*(item.id for item in items), "no title"]
    assert {(row.status_code, row.error) for row in rows[:-1]} == {(200, None)}
    assert (rows[-1].status_code, rows[-1].error.code) == (422, "invalid-input")

    assert list(client.items(word, page_size=100)) == items
    assert client.get_item(items[7].id) == items[7]
    client.delete_item(items[7].id)
    with pytest.raises(NotFound) as gone:
        client.get_item(items[7].id)
    assert gone.value.code == "item-not-found"
    assert list(client.items(word)) == items[:7] + items[8:]


def test_what_cannot_be_served_says_why(client: Any) -> None:
    with pytest.raises(InvalidRequest) as unknown:
        client.profile("user", "client stranger", history=["nowhere", "to be found"])
    with pytest.raises(InvalidRequest) as nothing:
        client.profile("user", "client stranger")

    assert (unknown.value.status, unknown.value.code) == (422, "unknown-items")
    assert unknown.value.problem["unknown"] == ["nowhere", "to be found"]
    assert nothing.value.code == "nothing-to-read"
    assert "history" in nothing.value.detail


def test_readiness(client: Any) -> None:
    ready = client.ready()
    assert ready.status == "ready"
    assert {name: one.status for name, one in ready.dependencies.items()} == {
        "redis": "up",
        "model": "up",
        "encoder": "up",
        "scorer": "up",
    }
