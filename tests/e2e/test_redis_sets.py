"""The service on Redis as people run it: behind three Sentinels, and in a cluster of six nodes.

The model server is a scripted one, since what is under test is the store; Redis, the encoder and
the service's processes are real.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from services.profiles.stores.redis import keys
from tests.support.model_server import MODEL, ModelServer
from tests.support.profiles import HEAT
from tests.support.redis_sets import ClusterSet, SentinelSet
from tests.support.servers import Service
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.stack

WITHIN_S = 60
KEY = keys.probe("default")

Start = "Callable[..., Api]"


class Api:
    """A service, and the calls that the tests make."""

    def __init__(self, service: Service) -> None:
        self.service = service
        # A connection belongs to one worker: without keeping them all workers get to answer.
        self.http = httpx.Client(
            base_url=service.url,
            timeout=WITHIN_S,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def ask(self, id_: str, *history: dict[str, str], **options: Any) -> httpx.Response:
        body = {"id": id_, "history": list(history), **options}
        return self.http.post("/profiles/user", json=body)

    def status(self, id_: str, *history: dict[str, str], **options: Any) -> str:
        """Returns a profile's status, or the code of the problem."""
        answer = self.ask(id_, *history, **options).json()
        return str(answer.get("status") if "identities" in answer else answer["code"])

    def store(self) -> dict[str, Any]:
        """Returns the status of the whole, and what is said of the store."""
        answer = self.http.get("/readyz").json()
        return {"whole": answer["status"], **answer["dependencies"]["redis"]}

    def well(self) -> bool:
        """Returns whether many calls in a row find each worker able to write."""
        return all(self.status(secrets.token_hex(6), HEAT) == "generated" for _ in range(8))


def event(user: str) -> dict[str, Any]:
    return {"events": [{"user_id": user, "item_id": "heat"}]}


class Writers:
    """Writes events, items and profiles until it is stopped, and remembers what was acknowledged."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(write,))
            for write in (self._event, self._item, self._profile)
        ]
        self.acknowledged: dict[str, list[str]] = {"event": [], "item": [], "profile": []}
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        assert self.wrong == []

    def total(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    def goes_on(self) -> None:
        """Waits until something of each kind has been acknowledged from now on."""
        before = {kind: len(ids) for kind, ids in self.acknowledged.items()}
        eventually(
            lambda: all(len(self.acknowledged[kind]) > before[kind] + 2 for kind in before),
            timeout_s=90,
        )

    def lost(self) -> list[str]:
        """Returns what was acknowledged and is not there any more."""
        http = self._api.http
        kept: dict[str, Callable[[str], bool]] = {
            "event": lambda id_: bool(http.get(f"/interactions/{id_}").json()["events"]),
            "item": lambda id_: http.get(f"/items/{id_}").is_success,
            "profile": lambda id_: http.get(f"/profiles/user/{id_}").is_success,
        }
        return [
            f"{kind} {id_}"
            for kind, ids in self.acknowledged.items()
            for id_ in ids
            if not kept[kind](id_)
        ]

    def _write(self, write: Callable[[str], httpx.Response]) -> None:
        while not self._stopping.is_set():
            id_ = secrets.token_hex(6)
            response = write(id_)
            kind = write.__name__.removeprefix("_")
            if response.is_success:
                self.acknowledged[kind].append(id_)
            elif response.status_code != 503:
                self.wrong.append(f"{kind} {response.status_code} {response.text}")

    def _event(self, id_: str) -> httpx.Response:
        return self._api.http.post("/interactions", json=event(id_))

    def _item(self, id_: str) -> httpx.Response:
        return self._api.http.put(f"/items/{id_}", json={"title": f"Film {id_}"})

    def _profile(self, id_: str) -> httpx.Response:
        return self._api.ask(id_, HEAT)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def start(model: ModelServer, encoder_folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the service on a Redis."""
    started: list[Api] = []

    def start(url: str, *, workers: int = 1, **settings: str) -> Api:
        env = {
            "RECLM_REDIS_URL": url,
            "RECLM_VLLM_URL": model.url,
            "RECLM_MODEL": MODEL,
            "RECLM_ENCODER_PATH": str(encoder_folder),
            "RECLM_LEASE_S": "1",
            **{f"RECLM_{name.upper()}": value for name, value in settings.items()},
        }
        service = Service(tmp_path, workers=workers, env=env)
        service.start()
        api = Api(service)
        started.append(api)
        # The item that events name.
        assert api.http.put("/items/heat", json=HEAT).is_success
        return api

    yield start
    for api in started:
        api.http.close()
        api.service.process.stop()


def test_nothing_acknowledged_is_lost_when_the_sentinels_replace_a_master_that_died(
    start: Start, tmp_path: Path
) -> None:
    with SentinelSet(tmp_path) as servers:
        api = start(servers.url, workers=2, redis_wait_replicas="1")
        with Writers(api) as writers:
            writers.goes_on()
            old, _ = servers.fail_over(kill=True)
            # Nothing is acknowledged until the new master has a replica, which this becomes.
            old.start()
            writers.goes_on()
        assert writers.lost() == []
        eventually(lambda: api.store()["status"] == "up")


def test_a_cluster_serves_every_kind_of_call_and_survives_the_death_of_a_node(
    start: Start, tmp_path: Path
) -> None:
    with ClusterSet(tmp_path) as servers:
        api = start(servers.url)
        http = api.http
        rows = "\n".join(f'{{"id": "u{number}", "history": ["heat"]}}' for number in range(20))
        headers = {"Content-Type": "application/x-ndjson"}
        batch = http.post("/profiles/user:batch", content=rows, headers=headers)
        assert batch.text.count('"status_code":200') == 20
        assert http.post("/embeddings/user", json={"ids": ["u1", "u2", "nobody"]}).is_success
        assert http.get("/items", params={"q": "heat"}).json()["items"]
        assert http.post("/interactions", json=event("viewer")).is_success
        # The refresh behind the answer: streams, sorted sets and hashes of one tenant.
        eventually(lambda: http.get("/profiles/user/viewer").is_success)
        assert http.delete("/profiles/user/viewer").is_success
        assert http.get("/profiles/user/viewer").status_code == 404

        with Writers(api) as writers:
            writers.goes_on()
        owner = servers.owner(KEY)
        names = {server: list(server.client().scan_iter("*")) for server in servers.servers[:3]}
        assert [server for server, found in names.items() if found] == [owner]
        assert all(b"{default}" in name for name in names[owner])

        # Nobody asked for replicas, so what is not there yet may be lost: wait for it.
        assert owner.client().wait(1, 10_000) == 1
        servers.fail_over(KEY)
        eventually(api.well, timeout_s=240)
        assert writers.lost() == []
        eventually(lambda: api.store()["status"] == "up")


def test_a_node_of_a_cluster_taken_for_a_server_is_refused_in_one_line(tmp_path: Path) -> None:
    with ClusterSet(tmp_path, masters=1, replicas=0) as servers:
        service = Service(tmp_path, workers=2, env={"RECLM_REDIS_URL": servers.servers[0].url})
        with pytest.raises(RuntimeError, match="did not become ready"):
            service.start()
    (line,) = service.process.log.read_text().splitlines()
    assert line.startswith("error: RECLM_REDIS_URL names a node of a Redis Cluster")
