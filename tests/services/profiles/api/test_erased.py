"""Over HTTP, with two workers on a real Redis: four ways back that an erased user does not take."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.asgi import running
from tests.support.profiles import CASINO, HEAT
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from services.profiles.settings import Settings
    from tests.services.profiles.api.conftest import Start
    from tests.support.bundles import Made
    from tests.support.model_server import ModelServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def other(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    """A second worker."""
    async with start() as client:
        yield client


@pytest.fixture
def user() -> str:
    return f"user-{secrets.token_hex(4)}"


@pytest.fixture
def held(model: ModelServer) -> ModelServer:
    """The model, which answers nothing until it is let."""
    model.free.clear()
    return model


async def asked(model: ModelServer, count: int = 1) -> None:
    """Waits until the model was asked so often."""

    async def enough() -> bool:
        return len(model.requests) >= count

    await eventually_async(enough)


async def erased(
    api: httpx.AsyncClient, user: str, model: ModelServer, tasks: list[asyncio.Task[Any]]
) -> list[int]:
    """Erases a user, lets the model answer, and checks that nothing came back."""
    assert (await api.delete(f"/profiles/user/{user}")).status_code == 204
    model.free.set()
    statuses = [response.status_code for response in await asyncio.gather(*tasks)]
    assert (await api.get(f"/profiles/user/{user}")).status_code == 404
    return statuses


async def test_a_second_worker_that_follows(
    api: httpx.AsyncClient, other: httpx.AsyncClient, held: ModelServer, user: str
) -> None:
    body = {"id": user, "history": [HEAT]}
    tasks = [asyncio.create_task(api.post("/profiles/user", json=body))]
    await asked(held)
    tasks.append(asyncio.create_task(other.post("/profiles/user", json=body)))
    # The other one has begun: it reads the profile before anything else, and then follows.
    await other.get(f"/profiles/user/{user}")
    assert await erased(api, user, held, tasks) == [200, 409]
    assert len(held.requests) == 1
    again = await other.post("/profiles/user", json=body)
    assert again.json()["status"] == "generated", "a new life of the same id"


async def test_two_histories_of_one_user(
    api: httpx.AsyncClient, held: ModelServer, user: str
) -> None:
    bodies = [{"id": user, "history": [item]} for item in (HEAT, CASINO)]
    tasks = [asyncio.create_task(api.post("/profiles/user", json=body)) for body in bodies]
    await asked(held)
    assert sorted(await erased(api, user, held, tasks)) == [200, 409]


async def test_a_row_in_the_background_that_waits(
    held: ModelServer, user: str, settings: Settings
) -> None:
    async with running(settings.model_copy(update={"max_concurrent_generations": 1})) as api:
        body = {"id": f"{user} ahead", "history": [HEAT], "background": True}
        tasks = [asyncio.create_task(api.post("/profiles/user", json=body))]
        await asked(held)
        body = {**body, "id": user}
        tasks.append(asyncio.create_task(api.post("/profiles/user", json=body)))
        # Another read behind it: what it reads first has been read then.
        await api.get(f"/profiles/user/{user}")
        assert await erased(api, user, held, tasks) == [200, 409]


async def test_a_score_of_interactions_that_were_recorded(
    api: httpx.AsyncClient, held: ModelServer, user: str, made: Made, settings: Settings
) -> None:
    assert settings.bundles is not None
    made.write(settings.bundles, "little")
    assert (await api.post("/admin/scorers/little/activate")).status_code == 200
    assert (await api.put("/items/a", json={"title": "Heat (1995)"})).status_code == 200
    held.free.set()
    event = {"user_id": user, "item_id": "a"}
    assert (await api.post("/interactions", json={"events": [event]})).status_code == 202
    held.free.clear()
    before = len(held.requests)
    scoring = asyncio.create_task(api.post("/score", json={"user_id": user}))
    await asked(held, before + 1)
    assert await erased(api, user, held, [scoring]) == [200]
    assert (await api.get(f"/interactions/{user}")).json()["events"] == []


async def test_events_of_before_are_counted_as_left_out(api: httpx.AsyncClient, user: str) -> None:
    assert (await api.put("/items/a", json={"title": "Heat (1995)"})).status_code == 200
    old = {"user_id": user, "item_id": "a", "timestamp": "2026-01-01T00:00:00Z"}
    sent = await api.post("/interactions", json={"events": [old]})
    assert sent.json() == {"events": 1, "users": 1, "left_out": 0}
    assert (await api.delete(f"/profiles/user/{user}")).status_code == 204
    replayed = await api.post("/interactions", json={"events": [old]})
    assert replayed.json() == {"events": 0, "users": 0, "left_out": 1}
    assert (await api.get(f"/interactions/{user}")).json()["events"] == []
