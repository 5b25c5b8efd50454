"""However many ask for one missing profile, wherever they ask, the model is asked once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.support.profiles import CASINO, HEAT, assert_well_formed
from tests.support.proxy import Proxy
from tests.support.servers import Service, metric, successes
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.model]

Answer = httpx.Response | httpx.TransportError


class Fleet:
    """Processes that serve the same profiles from one Redis and one model server.

    Attributes:
        services: Either one service with several workers, or several with one.
        model: On the way to the model server.
    """

    def __init__(self, services: Sequence[Service], model: Proxy) -> None:
        self.services = services
        self.model = model

    def workers(self) -> list[tuple[str, int]]:
        """Returns address and process id of everything that answers."""
        return [
            (service.url, process.pid)
            for service in self.services
            for process in workers_of(service)
        ]

    def leader(self) -> int:
        """Returns the process that has a connection to the model server, once there is one."""

        def connected() -> list[int]:
            return [
                pid
                for _, pid in self.workers()
                if any(
                    connection.raddr and connection.raddr.port == self.model.port
                    for connection in psutil.Process(pid).net_connections()
                    if connection.status == psutil.CONN_ESTABLISHED
                )
            ]

        (pid,) = eventually(connected)
        return pid

    def malformed(self) -> int:
        """Returns how often the model has been asked again, since its answer was no profile."""
        return sum(metric(service.url, "reclm_model_malformed_total") for service in self.services)


def workers_of(service: Service) -> list[psutil.Process]:
    """Returns the processes that listen for a service and are not merely its supervisor."""
    if service.workers == 1:
        return [psutil.Process(service.process.pid)]
    return [
        child
        for child in service.process.children()
        if "resource_tracker" not in str(child.cmdline())
    ]


@pytest.fixture
def model(vllm_url: str) -> Iterator[Proxy]:
    proxy = Proxy(httpx.URL(vllm_url).port or 80)
    yield proxy
    proxy.close()


@pytest.fixture(params=["workers", "hosts"])
def fleet(
    request: pytest.FixtureRequest, model: Proxy, service_env: dict[str, str], tmp_path: Path
) -> Iterator[Fleet]:
    """Two workers of one service, or two services that share nothing but Redis and the model."""
    env = {
        **service_env,
        "RECLM_VLLM_URL": f"http://127.0.0.1:{model.port}",
        "RECLM_LEASE_S": "1.5",
    }
    workers = [2] if request.param == "workers" else [1, 1]
    services = [Service(tmp_path, workers=number, env=env) for number in workers]
    try:
        for service in services:
            service.start()
        yield Fleet(services, model)
    finally:
        for service in services:
            service.process.stop()


@contextlib.asynccontextmanager
async def connections(fleet: Fleet, each: int) -> AsyncIterator[dict[int, list[httpx.AsyncClient]]]:
    """Opens this many connections to each process, and gives them by process id.

    Workers share a listening socket. While connections are made for one, the others stand still.
    """
    workers = fleet.workers()
    tls = ssl.create_default_context()
    async with contextlib.AsyncExitStack() as stack:
        opened: dict[int, list[httpx.AsyncClient]] = {}
        for url, pid in workers:
            others = [other for at, other in workers if other != pid and at == url]
            for other in others:
                os.kill(other, signal.SIGSTOP)
            try:
                opened[pid] = [
                    await stack.enter_async_context(
                        httpx.AsyncClient(base_url=url, timeout=60, verify=tls, trust_env=False)
                    )
                    for _ in range(each)
                ]
                for client in opened[pid]:
                    assert (await client.get("/healthz")).status_code == 200
            finally:
                for other in others:
                    os.kill(other, signal.SIGCONT)
        yield opened


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> Answer:
    try:
        return await client.post("/profiles/user", json=body)
    except httpx.TransportError as error:
        return error


def profile_of(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, httpx.Response), answer
    assert answer.status_code == 200, answer.text
    profile: dict[str, Any] = answer.json()
    assert_well_formed(profile)
    return profile


def test_200_requests_make_one_model_call(
    fleet: Fleet, vllm_url: str, request: pytest.FixtureRequest
) -> None:
    body = {"id": request.node.name, "history": [HEAT, CASINO]}

    async def flood() -> list[Answer]:
        async with connections(fleet, 100) as opened:
            assert len(opened) == 2
            fleet.model.set("hold")
            # Not one is answered before the model's answer is let through: all ask for what is
            # missing.
            asking = [
                asyncio.create_task(ask(client, body))
                for clients in opened.values()
                for client in clients
            ]
            await asyncio.sleep(1.0)
            assert not any(task.done() for task in asking)
            fleet.model.set("pass")
            return await asyncio.gather(*asking)

    calls, malformed = successes(vllm_url), fleet.malformed()
    profiles = [profile_of(answer) for answer in asyncio.run(flood())]

    # What the model wrote may be no profile, and is then asked for again, by the same generation.
    expected = 1 + fleet.malformed() - malformed
    assert eventually(lambda: successes(vllm_url) - calls) == expected
    assert len(profiles) == 200
    assert len({profile["text"] for profile in profiles}) == 1
    assert {profile["created_at"] for profile in profiles} == {profiles[0]["created_at"]}


def test_the_death_of_the_leader_leaves_the_others_an_answer(
    fleet: Fleet, request: pytest.FixtureRequest
) -> None:
    body = {"id": request.node.name, "history": [HEAT, CASINO]}

    async def flood() -> tuple[list[Answer], list[Answer]]:
        async with connections(fleet, 20) as opened:
            fleet.model.set("hold")
            asking = {
                pid: [asyncio.create_task(ask(client, body)) for client in clients]
                for pid, clients in opened.items()
            }
            leader = await asyncio.to_thread(fleet.leader)
            os.kill(leader, signal.SIGKILL)
            bereft = await asyncio.gather(*asking.pop(leader))
            (others,) = asking.values()
            assert not any(task.done() for task in others)
            fleet.model.set("pass")
            return bereft, await asyncio.gather(*others)

    bereft, others = asyncio.run(flood())

    assert len(bereft) == len(others) == 20
    assert all(isinstance(answer, httpx.TransportError) for answer in bereft)
    profiles = [profile_of(answer) for answer in others]
    assert len({profile["text"] for profile in profiles}) == 1
