"""What an orchestrator may ask, and what it is told without a key."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from reclm_client.schemas.profile import Component, ProfileVersion
from services.profiles import parts
from services.profiles.access.keyring import Keyring
from services.profiles.api import health
from services.profiles.api.access import RequireKey
from services.profiles.errors import ReclmError, StoreUnavailable
from services.profiles.parts import Dependency
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

pytestmark = pytest.mark.anyio

KEY = "caller-key-0123456789"
PART = Component("a-model", "abc")


class Checked:
    """A check that counts, and waits to be let go on."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: ReclmError | None = None

    async def __call__(self) -> None:
        self.calls += 1
        self.called.set()
        await self.go_on.wait()
        if self.error:
            raise self.error


def service(check: Callable[[], object], *, keys: bool) -> ASGIApp:
    app = FastAPI()
    app.state.metrics = Metrics()
    app.state.parts = SimpleNamespace(
        dependencies=(Dependency("redis", check, vital=True),),  # type: ignore[arg-type]
        profiles=SimpleNamespace(version=ProfileVersion(PART, None, PART, PART)),
    )
    app.include_router(health.router)
    if not keys:
        return app
    ring = Keyring.of(Settings(api_keys=SecretStr(KEY)))
    return RequireKey(app, owner=app, keys=ring)


def client(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://service")


@pytest.fixture
def check() -> Checked:
    checked = Checked()
    checked.go_on.set()
    return checked


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_may_ask_for_the_head_alone(check: Checked, path: str) -> None:
    async with client(service(check, keys=True)) as api:
        assert (await api.head(path)).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer another-key-0123456789"}], ids=["none", "unknown"]
)
async def test_without_a_key_readiness_names_nothing(
    check: Checked, headers: dict[str, str]
) -> None:
    async with client(service(check, keys=True)) as api:
        ready = await api.get("/readyz", headers=headers)
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_nor_does_it_when_something_is_down(check: Checked) -> None:
    check.error = StoreUnavailable("/srv/bundles: no answer")
    async with client(service(check, keys=True)) as api:
        unready = await api.get("/readyz")
        assert (unready.status_code, unready.json()) == (503, {"status": "unready"})


@pytest.mark.parametrize("keys", [True, False], ids=["with a key", "a service without keys"])
async def test_those_who_may_know_are_told_all(check: Checked, *, keys: bool) -> None:
    async with client(service(check, keys=keys)) as api:
        ready = await api.get("/readyz", headers={"Authorization": f"Bearer {KEY}"})
        assert ready.json()["dependencies"]["redis"]["status"] == "up"
        assert ready.json()["version"]["base_model"] == {"name": "a-model", "hash": "abc"}


async def test_all_who_ask_at_once_share_one_check() -> None:
    """Each of them cost a ping, a request to the model server and a run of the encoder."""
    check = Checked()
    async with client(service(check, keys=True)) as api:
        asking = [asyncio.create_task(api.get("/readyz")) for _ in range(50)]
        await check.called.wait()
        asking[0].cancel()
        check.go_on.set()
        assert {(await one).status_code for one in asking[1:]} == {200}
        await api.get("/readyz")
        assert check.calls == 1


async def test_a_check_is_repeated_when_it_is_old(
    check: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_FRESH_S", 0.0)
    async with client(service(check, keys=False)) as api:
        assert (await api.get("/readyz")).status_code == 200
        check.error = StoreUnavailable("gone")
        assert (await api.get("/readyz")).status_code == 503
