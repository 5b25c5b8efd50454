"""/admin/scorers: activating, refusing and rolling back, under load and on several workers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import secrets
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.domain.profile import Component, ProfileVersion
from services.profiles.scoring.content import Contents
from services.profiles.scoring.registry import Registry
from services.profiles.stores.base import ScorerRef
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.scorers import RedisScorers
from tests.support.asgi import running
from tests.support.bundles import ENCODER, little
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx
    from numpy.typing import NDArray

    from services.profiles.settings import Settings
    from tests.support.bundles import Made

    Start = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]

pytestmark = [pytest.mark.anyio, pytest.mark.stack]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """A tenant and a folder for each test: which bundle is active is the tenant's."""
    own = {"tenant": secrets.token_hex(6), "bundles": tmp_path / "bundles"}
    return settings.model_copy(update=own)


@pytest.fixture
def start(settings: Settings) -> Start:
    return lambda: running(settings)


@pytest.fixture
async def api(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(start())


@pytest.fixture
def folder(settings: Settings) -> Path:
    assert settings.bundles is not None
    return settings.bundles


async def activate(api: httpx.AsyncClient, name: str) -> dict[str, Any]:
    response = await api.post(f"/admin/scorers/{name}/activate")
    assert response.status_code == 200, response.text
    return names(response)


def names(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    return {"active": body["active"], "previous": body["previous"]}


async def active(api: httpx.AsyncClient) -> str | None:
    response = await api.post("/score", json={})
    return str(response.json()["scorer"]) if response.is_success else None


async def scorer_state(api: httpx.AsyncClient) -> dict[str, Any]:
    state: dict[str, Any] = (await api.get("/readyz")).json()["dependencies"]["scorer"]
    return state


async def answers_with(api: httpx.AsyncClient, name: str) -> bool:
    return await active(api) == name


async def test_without_a_scorer_the_answer_says_what_to_do(api: httpx.AsyncClient) -> None:
    response = await api.post("/score", json={})
    assert response.status_code == 503
    assert response.json()["code"] == "no-scorer"
    assert "/admin/scorers/{name}/activate" in response.json()["detail"]
    assert "retry-after" not in response.headers
    assert (await api.get("/admin/scorers")).json() == {
        "active": None,
        "previous": None,
        "active_content": None,
        "previous_content": None,
        "scorers": [],
    }
    assert (await api.get("/readyz")).json()["dependencies"]["scorer"]["status"] == "up"


async def test_bundles_are_listed_with_what_is_wrong_with_them(
    api: httpx.AsyncClient, folder: Path, made: Made
) -> None:
    made.write(folder, "good")
    little().write(folder, "other-encoder")
    (folder / "empty").mkdir()
    (folder / ".half-written").mkdir()
    (folder / "a-file").write_text("")
    await activate(api, "good")
    body = (await api.get("/admin/scorers")).json()
    assert [one["name"] for one in body["scorers"]] == ["empty", "good", "other-encoder"]
    empty, good, other = body["scorers"]
    assert (good["active"], good["loaded"], good["refused"]) == (True, True, None)
    assert (good["kind"], good["model"], good["n_items"]) == ("factors", "by-hand", 4)
    assert good["metrics"] == {"recall@20": 0.5}
    assert "manifest.json cannot be read" in empty["refused"]
    assert (empty["kind"], empty["metrics"]) == (None, None)
    assert "encoder is letters (abc) in the bundle" in other["refused"]
    assert other["kind"] == "factors"


async def test_activating_and_rolling_back(
    api: httpx.AsyncClient, folder: Path, made: Made
) -> None:
    for name in ("one", "two"):
        made.write(folder, name)
    assert await activate(api, "one") == {"active": "one", "previous": None}
    refused = await api.post("/admin/scorers/rollback")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing-to-roll-back")
    assert await activate(api, "two") == {"active": "two", "previous": "one"}
    assert await activate(api, "two") == {"active": "two", "previous": "one"}
    assert await active(api) == "two"
    back = await api.post("/admin/scorers/rollback")
    assert names(back) == {"active": "one", "previous": "two"}
    assert await active(api) == "one"


async def test_a_bundle_that_is_not_there_is_not_found_and_a_name_that_is_none_is_refused(
    api: httpx.AsyncClient, folder: Path, made: Made
) -> None:
    made.write(folder, "one")
    (folder / "a-file").write_text("")
    for name in ("missing", "one.tmp", "a-file"):
        response = await api.post(f"/admin/scorers/{name}/activate")
        assert (response.status_code, response.json()["code"]) == (404, "scorer-not-found"), name
    for name in (".hidden", "a%00b", "a b", "x" * 65):
        response = await api.post(f"/admin/scorers/{name}/activate")
        assert (response.status_code, response.json()["code"]) == (422, "invalid-input"), name
    for name in ("%2e%2e", "..%2fone", "one%2f..%2fone"):
        response = await api.post(f"/admin/scorers/{name}/activate")
        assert response.status_code in {404, 422}, name


async def test_a_bundle_that_does_not_fit_is_refused_and_the_active_one_stays(
    api: httpx.AsyncClient, folder: Path, made: Made, encoder: dict[str, str]
) -> None:
    made.write(folder, "good")
    little().write(folder, "other-encoder")
    damaged = made.write(folder, "damaged")
    (damaged / "item_bias.npy").write_bytes(b"")
    await activate(api, "good")

    response = await api.post("/admin/scorers/other-encoder/activate")
    assert (response.status_code, response.json()["code"]) == (409, "mismatched-bundle")
    assert response.json()["differences"] == [
        {
            "what": "encoder",
            "bundle": "letters (abc)",
            "service": f"{encoder['name']} ({encoder['hash']})",
        }
    ]
    response = await api.post("/admin/scorers/damaged/activate")
    assert (response.status_code, response.json()["code"]) == (409, "damaged-bundle")
    assert "item_bias.npy" in response.json()["detail"]
    assert await active(api) == "good"
    body = (await api.get("/admin/scorers")).json()
    assert (body["active"], body["previous"]) == ("good", None)


async def test_other_workers_follow_within_a_second_and_new_ones_begin_with_the_active_one(
    start: Start, folder: Path, made: Made
) -> None:
    made.write(folder, "one")
    async with start() as api, start() as other:
        assert await active(other) is None
        await activate(api, "one")
        await eventually_async(lambda: answers_with(other, "one"), timeout_s=1)
        async with start() as new:
            assert await active(new) == "one"


async def test_an_active_bundle_that_a_worker_lacks_is_told_and_the_old_one_answers_on(
    start: Start, folder: Path, made: Made, settings: Settings
) -> None:
    made.write(folder, "one")
    async with start() as api:
        await activate(api, "one")
        client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
        try:
            await RedisScorers(client).activate(settings.tenant, ScorerRef("elsewhere", "0" * 32))
        finally:
            await client.aclose()

        async def degraded() -> bool:
            status: str = (await api.get("/readyz")).json()["status"]
            return status == "degraded"

        await eventually_async(degraded)
        told = await scorer_state(api)
        assert "elsewhere is active and cannot be used here" in told["error"]
        assert await active(api) == "one"
        async with start() as new:
            response = await new.post("/score", json={})
            assert response.status_code == 503
            assert "elsewhere cannot be used" in response.json()["detail"]
        await activate(api, "one")

        async def ready() -> bool:
            return (await scorer_state(api))["status"] == "up"

        await eventually_async(ready)


async def test_swapping_under_load_fails_no_request_and_mixes_no_answers(
    start: Start, folder: Path, encoder: dict[str, str]
) -> None:
    shifts = {"zero": 0.0, "hundred": 100.0}
    for name, shift in shifts.items():
        little(shift=shift, encoder=encoder).write(folder, name)
    bodies = [
        {},
        {"user_id": "known"},
        {"history": [{"id": "a", "title": "Heat"}]},
        {"user_id": "known", "candidates": ["b", "c", "d"], "reasons": False},
    ]
    answered: list[dict[str, Any]] = []
    stop = asyncio.Event()

    async def ask(worker: httpx.AsyncClient, body: dict[str, Any]) -> None:
        while not stop.is_set():
            response = await worker.post("/score", json=body)
            assert response.status_code == 200, response.text
            answered.append(response.json())

    async with start() as one, start() as two:
        await activate(one, "zero")
        await eventually_async(lambda: answers_with(two, "zero"))
        async with asyncio.TaskGroup() as load:
            for worker, body in itertools.product((one, two), bodies):
                load.create_task(ask(worker, body))
            for turn in range(12):
                await asyncio.sleep(0.15)
                worker = (one, two)[turn % 2]
                if turn % 3 == 2:
                    (await worker.post("/admin/scorers/rollback")).raise_for_status()
                else:
                    await activate(worker, ("hundred", "zero")[turn % 2])
            stop.set()

    assert {answer["scorer"] for answer in answered} == set(shifts)
    for answer in answered:
        shift = shifts[answer["scorer"]]
        assert answer["items"]
        assert all(-20 <= item["score"] - shift <= 30 for item in answer["items"]), answer
    assert len(answered) > 200


class Letters:
    """The encoder of `little`: vectors of 384 numbers."""

    component = Component(**ENCODER)

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 384), np.float32)

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture
async def registry(settings: Settings, folder: Path) -> AsyncIterator[Registry]:
    client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
    part = Component("part", "hash")
    registry = Registry(
        folder=folder,
        store=RedisScorers(client),
        tenant=settings.tenant,
        version=ProfileVersion(part, None, part, Component(**ENCODER)),
        encoder=Letters(),
        poll_s=0.05,
    )
    async with contextlib.aclosing(client), registry.following():
        yield registry


async def test_the_old_bundle_goes_with_the_last_request_that_holds_it(
    registry: Registry, folder: Path
) -> None:
    for name in ("one", "two"):
        little().write(folder, name)
    await registry.activate("one")
    held = registry.current()
    gone = weakref.ref(held)
    await registry.activate("two")
    gc.collect()
    assert registry.current().name == "two"
    assert gone() is held
    assert held.name == "one"
    del held
    gc.collect()
    assert gone() is None


async def test_a_swap_that_somebody_else_made_meanwhile_is_not_overwritten(
    registry: Registry, settings: Settings, folder: Path
) -> None:
    for name in ("one", "two", "three"):
        little().write(folder, name)
    await registry.activate("one")
    await registry.activate("two")
    client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
    async with contextlib.aclosing(client):
        store = RedisScorers(client)
        seen = await store.refs(settings.tenant)
        three = ScorerRef("three", Contents().of(folder / "three"))
        await store.activate(settings.tenant, three)
        assert not await store.swap(settings.tenant, seen)
        refs = await store.refs(settings.tenant)
        assert (refs.active, refs.previous) == (three, seen.active)
        assert await store.swap(settings.tenant, refs)


async def test_what_is_active_is_kept_by_tenant(registry: Registry, settings: Settings) -> None:
    client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
    async with contextlib.aclosing(client):
        store = RedisScorers(client)
        await store.activate(settings.tenant, ScorerRef("mine", "0" * 32))
        theirs = await store.refs(f"{settings.tenant}x")
        assert (theirs.active, theirs.previous) == (None, None)
