"""SIGTERM: requests under way are answered, new ones are refused, and the exit is an orderly one."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.profiles import HEAT, assert_well_formed
from tests.support.proxy import Proxy
from tests.support.servers import Service
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.model]

UNDER_WAY = 6


@pytest.fixture
def model(vllm_url: str) -> Iterator[Proxy]:
    proxy = Proxy(httpx.URL(vllm_url).port or 80)
    yield proxy
    proxy.close()


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def service(
    request: pytest.FixtureRequest, model: Proxy, service_env: dict[str, str], tmp_path: Path
) -> Iterator[Service]:
    service = Service(
        tmp_path,
        workers=request.param,
        env={**service_env, "RECLM_VLLM_URL": f"http://127.0.0.1:{model.port}"},
    )
    service.start()
    yield service
    service.process.stop()


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_is_under_way_is_finished_and_what_is_new_is_refused(
    service: Service, model: Proxy
) -> None:
    def ask(number: int) -> dict[str, Any]:
        body = {"id": f"drained {service.workers} {number}", "history": [HEAT]}
        response = httpx.post(f"{service.url}/profiles/user", json=body, timeout=60)
        assert response.status_code == 200, response.text
        profile: dict[str, Any] = response.json()
        return profile

    model.set("hold")
    with ThreadPoolExecutor(UNDER_WAY) as pool:
        asking = [pool.submit(ask, number) for number in range(UNDER_WAY)]
        # Each waits for the model, on a connection of its own: none may have been left unread.
        eventually(lambda: model.connections >= UNDER_WAY)
        service.process.signal(signal.SIGTERM)
        eventually(lambda: refused(service.port))
        assert not any(future.done() for future in asking)
        assert not service.process.ended()

        model.set("pass")
        profiles = [future.result() for future in asking]

    assert service.process.wait(timeout_s=120) == 0
    for number, profile in enumerate(profiles):
        assert_well_formed(profile)
        assert profile["id"] == f"drained {service.workers} {number}"
        assert profile["status"] == "generated"


def test_an_idle_connection_does_not_hold_it_up(service: Service) -> None:
    with httpx.Client(base_url=service.url) as idle:
        assert idle.get("/healthz").status_code == 200
        service.process.signal(signal.SIGTERM)
        assert service.process.wait(timeout_s=120) == 0
