"""What users do, told over HTTP, becomes their profile; a worker killed meanwhile loses nothing.

The model server is a scripted one, since what is under test is what happens behind the answer;
Redis, the encoder and the service's processes are real.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reclm_client import Event, InvalidRequest, Item, NotFound, ReclmClient
from tests.support.model_server import MODEL, ModelServer
from tests.support.profiles import assert_well_formed
from tests.support.servers import Service, metric
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.stack

QUIET = {"RECLM_REFRESH_QUIET_S": "0.3"}


@pytest.fixture
def start(
    service_env: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[ModelServer], Service]]:
    """Starts services that share a tenant, each with a model server of its own."""
    started: list[Service] = []
    tenant = secrets.token_hex(6)

    def start(model: ModelServer, workers: int = 1, *, lease_s: int = 60) -> Service:
        env = {"RECLM_TENANT": tenant, "RECLM_MODEL": MODEL, "RECLM_VLLM_URL": model.url}
        env["RECLM_LEASE_S"] = str(lease_s)
        service = Service(tmp_path, workers=workers, env={**service_env, **QUIET, **env})
        service.start()
        started.append(service)
        return service

    yield start
    for service in started:
        service.process.stop()


@pytest.fixture(scope="module")
def interactions_url(
    service_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with ModelServer() as model:
        env = {"RECLM_TENANT": "interactions", "RECLM_MODEL": MODEL, "RECLM_VLLM_URL": model.url}
        service = Service(tmp_path_factory.mktemp("interactions"), env={**service_env, **env})
        service.start()
        yield service.url
        service.process.stop()


def stored(client: ReclmClient, user: str) -> Any:
    try:
        return client.get_profile("user", user)
    except NotFound:
        return None


def test_what_users_do_becomes_their_profile(start: Callable[..., Service]) -> None:
    with ModelServer() as model:
        service = start(model, workers=2)
        with ReclmClient(service.url) as client:
            list(client.put_items([Item("7", "Heat (1995)", "Crime"), Item("8", "Babe (1995)")]))
            with pytest.raises(InvalidRequest) as caught:
                client.add_interactions([Event("ann", "7"), Event("ann", "alien")])
            assert caught.value.problem["unknown"] == ["alien"]
            assert client.interactions("ann") == ()

            # With a time: to send them again changes nothing, however late that is.
            at = datetime.now(UTC)
            events = [Event(f"u{number}", "8", at) for number in range(20)]
            events.append(Event("ann", "7", at))
            for event in events:
                assert client.add_interactions([event]) == 1
            assert client.add_interactions(events) == 21
            eventually(lambda: stored(client, "ann"))
            assert_well_formed(httpx.get(f"{service.url}/profiles/user/ann").json())
            eventually(lambda: metric(service.url, "reclm_refreshes_waiting") == 0)
            prompts = {request["messages"][-1]["content"] for request in model.requests}
            assert len(prompts) == 2
            assert metric(service.url, "reclm_refreshes_total", outcome="refreshed") == 21
            assert len(model.requests) == 21

            assert client.profile("user", "ann").status == "cached"
            assert client.profile("user", "ann", refresh=True).status == "generated"
            client.delete_profile("user", "ann")
            assert client.interactions("ann") == ()
            with pytest.raises(InvalidRequest, match="nothing-to-read"):
                client.profile("user", "ann")


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05.678999Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05.000Z"),
        ("2026-02-30T00:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2026-01-02 03:04:05Z", None),
        ("2026-01-02T03:04:05", None),
        (4_000_000_000_000, None),
        (-1, None),
        (True, None),
    ],
)
def test_times_are_read_as_documented(
    interactions_url: str, timestamp: int | str, shown: str | None
) -> None:
    with httpx.Client(base_url=interactions_url) as client:
        client.put("/items/7", json={"title": "Heat (1995)"})
        user = secrets.token_hex(6)
        event = {"user_id": user, "item_id": "7", "timestamp": timestamp}
        response = client.post("/interactions", json={"events": [event, event]})
        assert response.status_code == (202 if shown else 422), response.text
        known = client.get(f"/interactions/{user}").json()
        if shown:
            assert response.json() == {"events": 2, "users": 1, "left_out": 0}
            kept = {"user_id": user, "item_id": "7", "timestamp": shown}
            assert known == {"user_id": user, "events": [kept]}
        else:
            assert response.json()["code"] == "invalid-input"
            assert "events.0.timestamp" in response.json()["detail"]
            assert known["events"] == []


def test_a_service_that_is_killed_leaves_its_refreshes_to_another(
    start: Callable[..., Service],
) -> None:
    with ModelServer() as hanging, ModelServer() as model:
        hanging.hanging = True
        dying = start(hanging, lease_s=1)
        with ReclmClient(dying.url) as client:
            client.put_item(Item("7", "Heat (1995)"))
            client.add_interactions([Event("ann", "7"), Event("bob", "7")])
            eventually(lambda: len(hanging.requests) == 2)
        dying.process.kill()
        living = start(model, lease_s=1)
        with ReclmClient(living.url) as client:
            for user in ("ann", "bob"):
                eventually(lambda user=user: stored(client, user))
            eventually(lambda: metric(living.url, "reclm_refreshes_waiting") == 0)
        assert len(model.requests) == 2
