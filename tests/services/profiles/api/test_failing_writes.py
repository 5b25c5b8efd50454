"""A Redis that answers and takes no writes: a demoted one, a full one, one without its replica."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from services.profiles.domain.profile import ProfileKey
from services.profiles.settings import Settings
from services.profiles.stores.redis import keys
from tests.support.asgi import running
from tests.support.model_server import MODEL
from tests.support.profiles import BABE, CASINO, HEAT
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    import httpx

    from tests.support.model_server import ModelServer

    Run = Callable[..., contextlib.AbstractAsyncContextManager["Api"]]

pytestmark = [pytest.mark.anyio, pytest.mark.stack]

KNOWN = keys.profile(ProfileKey("default", "user", "known"))


class Api:
    """The calls that the tests make."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(self, id_: str, *history: dict[str, str]) -> httpx.Response:
        return await self.http.post("/profiles/user", json={"id": id_, "history": history})

    async def status(self, id_: str, *history: dict[str, str]) -> str:
        """Returns the status of a profile, or the code of a problem."""
        answer = (await self.ask(id_, *history)).json()
        return str(answer["status"] if "identities" in answer else answer["code"])

    async def events(self, user: str) -> httpx.Response:
        rows = [{"user_id": user, "item_id": "heat"}]
        return await self.http.post("/interactions", json={"events": rows})

    async def readiness(self) -> tuple[str, str, str | None]:
        """Returns the status of the whole, and status and error of the store."""
        answer = (await self.http.get("/readyz")).json()
        store = answer["dependencies"]["redis"]
        return answer["status"], store["status"], store.get("error")

    async def until(self, status: str) -> str | None:
        """Waits until the store has a status, and returns the error."""

        async def found() -> tuple[str, str, str | None] | None:
            readiness = await self.readiness()
            return readiness if readiness[1] == status else None

        whole, _, error = await eventually_async(found)
        assert whole == ("ready" if status == "up" else "degraded")
        return error


@pytest.fixture
def run(model: ModelServer, encoder_folder: Path, tmp_path: Path) -> Run:
    """Runs the application on a Redis of the test's own."""

    @contextlib.asynccontextmanager
    async def run(url: str, **settings: Any) -> AsyncIterator[Api]:
        made = Settings(
            redis_url=SecretStr(url),
            vllm_url=model.url,
            model=MODEL,
            encoder_path=encoder_folder,
            bundles=tmp_path,
            lease_s=1,
            drain_s=0.1,
            log_level="error",
            **settings,
        )
        async with running(made) as http:
            assert (await http.put("/items/heat", json=HEAT)).is_success
            yield Api(http)

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that tests may ruin."""
    server = RedisServer(tmp_path, options=["--maxmemory-policy", "noeviction"])
    server.start()
    yield server
    server.process.kill()


@pytest.fixture
def replica(server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A replica of `server`."""
    replica = RedisServer(tmp_path)
    replica.start()
    replica.client().replicaof("127.0.0.1", server.port)
    eventually(lambda: server.client().role()[2])
    yield replica
    replica.process.kill()


async def test_a_demoted_server_is_left_when_its_name_gives_another(
    run: Run, server: RedisServer, replica: RedisServer
) -> None:
    name = Proxy(server.port)  # as DNS or a load balancer has it
    try:
        async with run(f"redis://127.0.0.1:{name.port}/0") as api:
            assert await api.status("known", HEAT) == "generated"
            eventually(lambda: replica.client().exists(KNOWN))
            replica.client().replicaof("NO", "ONE")
            server.client().replicaof("127.0.0.1", replica.port)

            # The name still gives the one that is a replica now.
            assert await api.status("new", HEAT) == "store-unavailable"
            assert await api.status("known", HEAT) == "cached"
            assert await api.status("known", HEAT, CASINO) == "stale"
            assert "read-only replica" in str(await api.until("degraded"))

            # Existing connections stay open, as after a failover by hand.
            name.redirect(replica.port)
            await api.until("up")
            assert await api.status("new", HEAT) == "generated"
            assert await api.status("known", HEAT) == "cached"
            assert replica.client().exists(keys.profile(ProfileKey("default", "user", "new")))
    finally:
        name.close()


async def test_a_full_server_serves_what_it_has_and_says_so(run: Run, server: RedisServer) -> None:
    async with run(server.url) as api:
        assert await api.status("known", HEAT) == "generated"
        server.client().config_set("maxmemory", 1)
        refused = await api.ask("new", HEAT)
        assert refused.status_code == 503
        assert "memory is full" in refused.json()["detail"]
        assert refused.headers["Retry-After"]
        assert await api.status("known", HEAT) == "cached"
        assert await api.status("known", HEAT, BABE) == "stale"
        assert (await api.events("known")).status_code == 503
        assert "memory is full" in str(await api.until("degraded"))

        # Who is to be forgotten is forgotten all the same.
        assert (await api.http.delete("/profiles/user/known")).is_success
        assert (await api.http.get("/profiles/user/known")).status_code == 404

        server.client().config_set("maxmemory", 0)
        assert await api.status("new", HEAT) == "generated"
        await api.until("up")


async def test_a_write_that_no_replica_has_is_no_success(
    run: Run, server: RedisServer, replica: RedisServer
) -> None:
    async with run(server.url, redis_wait_replicas=1, redis_wait_s=0.2) as api:
        assert await api.status("known", HEAT) == "generated"
        assert (await api.events("known")).is_success
        replica.process.kill()
        eventually(lambda: not server.client().role()[2])
        answers = {
            "item": await api.http.put("/items/casino", json=CASINO),
            "events": await api.events("known"),
            "profile": await api.ask("new", HEAT),
            "erasure": await api.http.delete("/profiles/user/known"),
        }
        for what, answer in answers.items():
            assert answer.status_code == 503, what
            assert "0 of 1 replicas" in answer.json()["detail"], what
        assert "0 of 1 replicas" in str(await api.until("degraded"))


async def test_a_profile_that_could_not_be_stored_is_a_success_only_if_no_replica_was_asked_for(
    run: Run, model: ModelServer, server: RedisServer, replica: RedisServer
) -> None:
    async def full_meanwhile(api: Api) -> httpx.Response:
        """Asks for a profile, and fills the memory while the model writes it."""
        model.requests.clear()
        model.free.clear()
        task = asyncio.create_task(api.ask("new", HEAT))

        async def writing() -> bool:
            return bool(model.requests)

        await eventually_async(writing)
        server.client().config_set("maxmemory", 1)
        model.free.set()
        response = await task
        server.client().config_set("maxmemory", 0)
        return response

    async with run(server.url) as api:
        assert (await full_meanwhile(api)).json()["status"] == "generated"
    assert not server.client().exists(keys.profile(ProfileKey("default", "user", "new")))
    async with run(server.url, redis_wait_replicas=1, redis_wait_s=0.5) as api:
        refused = await full_meanwhile(api)
        assert refused.status_code == 503
        assert "memory is full" in refused.json()["detail"]
