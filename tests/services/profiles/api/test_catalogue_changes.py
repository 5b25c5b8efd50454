"""What the service answers when items of the catalogue change, on a real Redis with two workers."""

from __future__ import annotations

import contextlib
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.asgi import running
from tests.support.bundles import little_weights
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from services.profiles.settings import Settings
    from tests.support.bundles import Made
    from tests.support.model_server import ModelServer

pytestmark = [pytest.mark.anyio, pytest.mark.stack]

HEAT = {"title": "Heat (1995)", "category": "Crime"}
Workers = tuple["httpx.AsyncClient", "httpx.AsyncClient"]


@pytest.fixture
async def workers(
    settings: Settings, tmp_path: Path, made: Made
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two workers with a catalogue of their own, and a scorer of the items a, b, c and d."""
    own = settings.model_copy(update={"tenant": secrets.token_hex(6), "bundles": tmp_path})
    made.write(tmp_path, "little")
    little_weights().write(tmp_path, "weights")
    async with contextlib.AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(running(own)) for _ in range(2)]
        await activate(one, two, "little")
        yield one, two


async def activate(one: httpx.AsyncClient, two: httpx.AsyncClient, name: str) -> None:
    (await one.post(f"/admin/scorers/{name}/activate")).raise_for_status()

    async def loaded() -> bool:
        response = await two.post("/score", json={})
        return response.is_success and response.json()["scorer"] == name

    await eventually_async(loaded)


async def put(api: httpx.AsyncClient, id_: str, **body: Any) -> dict[str, Any]:
    response = await api.put(f"/items/{id_}", json={**HEAT, **body})
    assert response.status_code == 200, response.text
    item: dict[str, Any] = response.json()
    return item


async def ask(api: httpx.AsyncClient, kind: str, **body: Any) -> dict[str, Any]:
    response = await api.post(f"/profiles/{kind}", json=body)
    assert response.status_code == 200, response.text
    profile: dict[str, Any] = response.json()
    return profile


async def best(api: httpx.AsyncClient, **body: Any) -> list[str]:
    response = await api.post("/score", json=body)
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


async def test_a_changed_title_renews_profiles_on_all_workers(
    workers: Workers, model: ModelServer
) -> None:
    one, two = workers
    await put(one, "a")
    users, film = {"id": "u", "history": ["a"]}, {"id": "a"}
    assert (await ask(one, "user", **users))["status"] == "generated"
    assert (await ask(one, "item", **film))["status"] == "generated"
    await put(one, "a", title="Heat: the director's cut")
    # The worker that took the change knows of it; others hear of it soon.
    renewed = await ask(one, "user", **users)
    assert renewed["status"] == "generated"

    async def heard() -> bool:
        response = await two.post("/profiles/item", json=film)
        return bool(response.json()["status"] == "generated")

    await eventually_async(heard)
    assert (await ask(two, "user", **users))["status"] == "cached"
    assert (await ask(one, "item", **film))["status"] == "cached"
    assert "director's cut" in json.dumps(model.requests)
    assert len(model.requests) == 4


async def test_a_removed_item_takes_its_profile_along(workers: Workers) -> None:
    one, two = workers
    await put(one, "a")
    await ask(one, "item", id="a")
    assert (await one.delete("/items/a")).status_code == 204
    await put(two, "a")

    async def there_again() -> bool:
        return (await one.get("/profiles/item/a")).json()["code"] == "profile-not-found"

    await eventually_async(there_again)
    assert (await ask(one, "item", id="a"))["status"] == "generated"


@pytest.mark.parametrize("how", ["hidden", "removed", "expired"])
async def test_a_withdrawn_item_is_never_ranked_answered_or_shown(
    workers: Workers, how: str
) -> None:
    one, two = workers
    await activate(one, two, "weights")
    await put(one, "b")
    await ask(one, "item", id="b")
    everybody: dict[str, Any] = {"k": 10}
    clicked = {"history": ["a", "b"], "candidates": ["c", "b", "x"], "k": 10}
    assert set(await best(one, **everybody)) == {"a", "b", "c", "d"}
    assert named(await one.post("/score", json=clicked)) == {"a", "b"}

    if how == "removed":
        assert (await one.delete("/items/b")).status_code == 204
    elif how == "hidden":
        await put(one, "b", hidden=True)
    else:
        await put(one, "b", expires_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())

    async def gone(api: httpx.AsyncClient) -> bool:
        return "b" not in await best(api, **everybody)

    assert await gone(one)
    await eventually_async(lambda: gone(two))
    for worker in workers:
        assert set(await best(worker, **everybody)) == {"a", "c", "d"}
        assert set(await best(worker, user_id="known", k=10)) == {"c", "d"}
        response = await worker.post("/score", json=clicked)
        assert response.json()["ignored"] == ["b", "x"]
        assert [item["item_id"] for item in response.json()["items"]] == ["c"]
        assert named(response) == {"a"}
        for answer in (
            await worker.get("/profiles/item/b"),
            await worker.post("/profiles/item", json={"id": "b"}),
            await worker.post("/profiles/item", json={"id": "b", "item": HEAT}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "item-withdrawn")
            assert "withdrawn" in answer.json()["detail"]
        batch = await worker.post(
            "/profiles/item:batch",
            content=b'{"id":"b"}\n',
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert json.loads(batch.text)["status_code"] == 404
        vectors = await worker.post("/embeddings/item", json={"ids": ["b"]})
        assert [row["vector"] for row in vectors.json()["rows"]] == [None]

    await put(two, "b")
    assert "b" in await best(two, **everybody)


def named(response: httpx.Response) -> set[str]:
    """Returns the past items in the reasons of an answer."""
    return {
        past["item_id"] for item in response.json()["items"] for past in item["reasons"]["history"]
    }


async def test_a_scorer_that_is_loaded_later_leaves_out_what_was_withdrawn_before(
    workers: Workers,
) -> None:
    one, two = workers
    assert (await one.delete("/items/c")).status_code == 204
    await activate(one, two, "weights")
    assert set(await best(one)) == {"a", "b", "d"}

    async def gone() -> bool:
        return set(await best(two)) == {"a", "b", "d"}

    await eventually_async(gone)


async def test_a_worker_that_starts_knows_what_is_withdrawn(
    settings: Settings, tmp_path: Path, made: Made
) -> None:
    own = settings.model_copy(update={"tenant": secrets.token_hex(6), "bundles": tmp_path})
    made.write(tmp_path, "little")
    async with running(own) as api:
        (await api.post("/admin/scorers/little/activate")).raise_for_status()
        await put(api, "b", hidden=True)
        await api.delete("/items/d")
    async with running(own) as api:
        assert set(await best(api)) == {"a", "c"}


async def test_what_withdraws_an_item_goes_in_and_comes_out(workers: Workers) -> None:
    one, _ = workers
    at = "2030-01-01T00:00:00.000Z"
    item = await put(one, "a", hidden=True, expires_at="2030-01-01T01:00:00+01:00")
    assert item == {
        "id": "a",
        **HEAT,
        "description": "",
        "hidden": True,
        "expires_at": at,
    }
    assert (await one.get("/items/a")).json() == item
    assert (await one.get("/items")).json()["items"] == [item]
    rows = [{"id": "a", **HEAT, "expires_at": 1893456000000}, {"id": "b", **HEAT, "hidden": 1}]
    response = await one.post(
        "/items:batch",
        content="\n".join(map(json.dumps, rows)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    good, bad = [json.loads(line) for line in response.text.splitlines()]
    assert (good["status_code"], bad["status_code"]) == (200, 422)
    assert "hidden" in bad["error"]["detail"]
    kept = (await one.get("/items/a")).json()
    assert (kept["hidden"], kept["expires_at"]) == (False, at)
