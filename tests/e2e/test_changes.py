"""Two hosts with two workers each: scorers by content, changed titles, and withdrawn items."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

import httpx
import pytest

from reclm_client import Item, NotFound, ReclmClient, Unavailable
from services.common.manifests import content_hash
from tests.support.bundles import little
from tests.support.model_server import MODEL, ModelServer
from tests.support.servers import Service
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import RedisServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ASKS = 12
"""Requests that reach both workers of a host, but for one time in two thousand."""


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def hosts(
    redis_server: RedisServer, model: ModelServer, encoder_folder: Path, tmp_path: Path
) -> Iterator[list[Service]]:
    common = {
        "RECLM_TENANT": secrets.token_hex(6),
        "RECLM_REDIS_URL": redis_server.url,
        "RECLM_VLLM_URL": model.url,
        "RECLM_MODEL": MODEL,
        "RECLM_ENCODER_PATH": str(encoder_folder),
    }
    services = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        own = {"RECLM_BUNDLES": str(tmp_path / name)}
        services.append(Service(tmp_path, workers=2, env={**common, **own}))
    for service in services:
        service.start()
    yield services
    for service in services:
        service.process.stop()


@pytest.fixture
def place(tmp_path: Path, encoder_folder: Path) -> Callable[[str, float], None]:
    """Puts a bundle `same` whose scores are shifted in the place of what a host has."""
    encoder = {
        "name": encoder_folder.name,
        "hash": content_hash(encoder_folder, "model.onnx"),
    }

    def placed(host: str, shift: float) -> None:
        new = little(shift=shift, encoder=encoder).write(tmp_path / secrets.token_hex(4), "same")
        old = tmp_path / host / "same"
        shutil.rmtree(old, ignore_errors=True)
        new.rename(old)

    return placed


def shifts(service: Service) -> set[float | None]:
    """Returns what the workers of a host answer: the shift of their scorer, None for a 503."""
    found: set[float | None] = set()
    for _ in range(ASKS):
        # A connection for each request: the kernel gives it to either worker.
        with ReclmClient(service.url) as client:
            try:
                found.add(client.score(candidates=["a"]).items[0].score)
            except Unavailable:
                found.add(None)
    return found


def best(service: Service) -> set[frozenset[str]]:
    found = set()
    for _ in range(ASKS):
        with ReclmClient(service.url) as client:
            found.add(frozenset(item.item_id for item in client.score(k=10).items))
    return found


def test_two_contents_of_one_name_are_never_both_served(
    hosts: list[Service], place: Callable[[str, float], None]
) -> None:
    one, two = hosts
    place("one", 1.0)
    place("two", 5.0)
    with ReclmClient(one.url) as client:
        first = client.activate_scorer("same")
    eventually(lambda: shifts(one) == {1.0})
    assert shifts(two) == {None}
    told = httpx.get(f"{two.url}/readyz", timeout=10).json()
    with ReclmClient(two.url) as client:
        (listed,) = client.scorers()
    assert listed.content != first.active_content
    assert first.active_content is not None
    for text in (listed.conflict or "", told["dependencies"]["scorer"]["error"]):
        assert first.active_content in text
        assert str(listed.content) in text
    assert any(first.active_content in str(line.get("why")) for line in two.log())

    # The right content on the second host, and then another one on both, under the same name.
    place("two", 1.0)
    eventually(lambda: shifts(two) == {1.0})
    for host in ("one", "two"):
        place(host, 9.0)
    assert shifts(one) == shifts(two) == {1.0}
    with ReclmClient(two.url) as client:
        client.activate_scorer("same")
    eventually(lambda: shifts(one) == {9.0})
    eventually(lambda: shifts(two) == {9.0})


def test_changed_and_withdrawn_items_are_heard_of_on_all_workers(
    hosts: list[Service], place: Callable[[str, float], None], model: ModelServer
) -> None:
    one, two = hosts
    for host in ("one", "two"):
        place(host, 1.0)
    with ReclmClient(one.url) as client, ReclmClient(two.url) as other:
        client.activate_scorer("same")
        eventually(lambda: shifts(two) == {1.0})
        client.put_item(Item("b", "Heat (1995)"))
        assert client.profile("user", "u", history=["b"]).status == "generated"
        assert client.profile("item", "b").status == "generated"
        other.put_item(Item("b", "Ronin (1998)"))
        eventually(lambda: client.profile("user", "u", history=["b"]).status == "generated")
        eventually(lambda: other.profile("item", "b").status == "generated")
        assert sum("Ronin" in str(request) for request in model.requests) == 2

        other.put_item(Item("b", "Ronin (1998)", hidden=True))
        client.delete_item("c")
        for service in hosts:
            eventually(lambda service=service: best(service) == {frozenset("ad")})
        for asked in (client, other):
            with pytest.raises(NotFound, match="withdrawn"):
                asked.profile("item", "b")
        client.put_item(Item("c", "Alien (1979)"))
        eventually(lambda: best(two) == {frozenset("acd")})
