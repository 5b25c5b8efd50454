"""What an erasure means to bundles: the deny list, and /score for who was erased, on a real Redis."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores.redis import keys
from services.profiles.stores.redis.client import RedisClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from services.profiles.settings import Settings
    from tests.support.bundles import Made
    from tests.support.model_server import ModelServer

pytestmark = [pytest.mark.anyio, pytest.mark.stack]

HEAT = {"id": "a", "title": "Heat (1995)", "category": "Crime"}


@pytest.fixture(scope="module", autouse=True)
async def active(api: httpx.AsyncClient, made: Made, settings: Settings) -> None:
    assert settings.bundles is not None
    made.write(settings.bundles, "little")
    (await api.post("/admin/scorers/little/activate")).raise_for_status()
    for item in ("a", "b", "c", "d"):
        (await api.put(f"/items/{item}", json={"title": f"Title of {item}"})).raise_for_status()


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[RedisClient]:
    client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
    yield client
    await client.aclose()


async def score(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await api.post("/score", json=body)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


async def erase(api: httpx.AsyncClient, user_id: str) -> None:
    assert (await api.delete(f"/profiles/user/{user_id}")).status_code == 204


async def deny_list(api: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cursor = None
    while True:
        where = query if cursor is None else {**query, "cursor": cursor}
        response = await api.get("/admin/erasures", params=where)
        assert response.status_code == 200, response.text
        page = response.json()
        found.update((one["user_id"], one["erased_at"]) for one in page["erasures"])
        cursor = page["cursor"]
        if cursor is None:
            return found


async def test_who_was_erased_is_known_to_no_bundle(api: httpx.AsyncClient) -> None:
    before = await score(api, user_id="known")
    assert before["known_by"] == "training"
    assert before["items"][0]["reasons"]["history"] == [{"item_id": "a", "contribution": 2}]
    await erase(api, "known")
    after = await score(api, user_id="known")
    assert after["known_by"] == "nothing"
    assert after["items"] == (await score(api, user_id="nobody"))["items"]
    assert all(item["reasons"] == {"history": [], "interests": []} for item in after["items"])
    batch = await api.post(
        "/score:batch",
        content=json.dumps({"user_id": "known"}),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert json.loads(batch.text)["score"] == after


async def test_who_comes_back_is_a_new_user(api: httpx.AsyncClient, model: ModelServer) -> None:
    await erase(api, "regular")
    event = {"user_id": "regular", "item_id": "c"}
    assert (await api.post("/interactions", json={"events": [event]})).status_code == 202
    document = await score(api, user_id="regular", history=["d"])
    assert document["known_by"] == "history"
    assert document["profile"]["status"] == "generated"
    # What training knew, the bundle's item a, is ranked like any other.
    assert {item["item_id"] for item in document["items"]} == {"a", "b"}
    named = {
        reason["item_id"] for item in document["items"] for reason in item["reasons"]["history"]
    }
    assert "a" not in named
    asked = json.dumps(model.requests)
    assert "Title of c" in asked
    assert "Title of a" not in asked


async def test_a_bundle_that_was_exported_after_the_erasure_knows_whom_it_has(
    api: httpx.AsyncClient, made: Made, settings: Settings
) -> None:
    assert settings.bundles is not None
    await erase(api, "again")
    erased_ms = (await deny_list(api))["again"]
    made.user_ids[:] = ["known", "again"]
    for name, later_ms, known_by in (("before", -1, "nothing"), ("after", 0, "training")):
        made.changed = {"erasures_as_of": milliseconds(erased_ms) + later_ms}
        made.write(settings.bundles, name)
        (await api.post(f"/admin/scorers/{name}/activate")).raise_for_status()
        assert (await score(api, user_id="again"))["known_by"] == known_by
    made.changed = {}
    (await api.post("/admin/scorers/little/activate")).raise_for_status()


def milliseconds(shown: str) -> int:
    return round(datetime.fromisoformat(shown).timestamp() * 1000)


async def test_the_deny_list_names_every_erased_user_once_with_the_last_time(
    api: httpx.AsyncClient,
) -> None:
    users = [f"user {number}/ä" for number in range(700)]
    began = time.time_ns() // 1_000_000 - 2_000
    for user in users:
        await erase(api, user)
    await erase(api, users[0])
    await api.delete("/profiles/item/thing")
    shown = await deny_list(api, limit=100)
    found = {user: milliseconds(at) for user, at in shown.items()}
    assert set(users) <= set(found)
    assert "thing" not in found
    assert min(found[user] for user in users) > began
    assert found[users[0]] > found[users[1]]
    page = (await api.get("/admin/erasures")).json()
    assert milliseconds(page["as_of"]) < began


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"cursor": "-1"}, {"limit": 0}])
async def test_a_page_that_cannot_be_is_refused(
    api: httpx.AsyncClient, query: dict[str, Any]
) -> None:
    assert (await api.get("/admin/erasures", params=query)).status_code == 422


async def test_the_service_tells_what_may_hold_copies(
    api: httpx.AsyncClient, settings: Settings, redis: RedisClient
) -> None:
    await redis.call("CONFIG", "SET", "appendonly", "yes")
    copies = (await api.get("/admin/erasures/copies")).json()["copies"]
    await redis.call("CONFIG", "SET", "appendonly", "no")
    until = {copy["where"].partition(":")[0]: copy["until"] for copy in copies}
    assert until["tombstone in the store"] == "90 days after it was written"
    assert any("append-only file" in where for where in until)
    by_hash = next(copy for copy in copies if "under a hash" in copy["where"])
    assert by_hash["until"] == f"{settings.anonymous_ttl_s} s after it was written"
    copies = (await api.get("/admin/erasures/copies")).json()["copies"]
    assert not [copy for copy in copies if "append-only file" in copy["where"]]


async def test_a_profile_of_nobody_is_kept_for_an_hour_and_one_of_a_user_for_long(
    api: httpx.AsyncClient, settings: Settings, redis: RedisClient
) -> None:
    nobody = (await score(api, history=[HEAT]))["profile"]["id"]
    assert nobody.startswith("anonymous:")
    await score(api, user_id="somebody", history=[HEAT])
    left = [
        await redis.call("TTL", keys.profile(ProfileKey(settings.tenant, "user", id_)))
        for id_ in (nobody, "somebody")
    ]
    assert 0 < left[0] <= 3600
    assert left[1] > 24 * 3600
