"""Redis or the model server gone, hanging or talking nonsense, and back again.

One service with short time limits lives through all of it: that it answers again after each test
is what recovery means. Between it and the real servers stand proxies that misbehave.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.profiles import BABE, CASINO, HEAT, assert_well_formed, copy_profile
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer, Service
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.proxy import Mood

pytestmark = [pytest.mark.stack, pytest.mark.model]

LIMITS = {
    "RECLM_REDIS_TIMEOUT_S": "0.5",
    "RECLM_MODEL_TIMEOUT_S": "15",
    "RECLM_GENERATION_TIMEOUT_S": "45",
    "RECLM_LEASE_S": "1",
}
WITHIN_S = 60
"""A little more than the longest limit above: no answer may take longer."""

GONE: list[Mood] = ["refuse", "hang", "cut", "garbage"]


class Stack:
    """A service, and what stands between it and the servers it needs."""

    def __init__(self, service: Service, redis: Proxy, model: Proxy, server: RedisServer) -> None:
        self.service = service
        self.redis = redis
        self.model = model
        self.server = server
        self.api = httpx.Client(base_url=service.url, timeout=WITHIN_S)

    def ask(self, id_: str, *history: dict[str, str] | str, **options: Any) -> httpx.Response:
        body = {"id": id_, "history": list(history), **options}
        return self.api.post("/profiles/user", json=body)

    def profile(self, id_: str, *history: dict[str, str] | str, **options: Any) -> dict[str, Any]:
        response = self.ask(id_, *history, **options)
        assert response.status_code == 200, response.text
        profile: dict[str, Any] = response.json()
        assert profile["id"] == id_
        assert_well_formed(profile)
        return profile

    def generated(self, id_: str, *history: dict[str, str] | str) -> dict[str, Any]:
        """Asks until there is a profile: a failure of a moment ago may be reported once more."""
        eventually(lambda: self.ask(id_, *history).is_success, timeout_s=240)
        return self.profile(id_, *history)

    def readiness(self) -> tuple[int, str, str, str, str]:
        """Returns HTTP status, status, and how redis, model and encoder are."""
        response = self.api.get("/readyz")
        body = response.json()
        of = {name: entry["status"] for name, entry in body["dependencies"].items()}
        return response.status_code, body["status"], of["redis"], of["model"], of["encoder"]

    def is_ready(self) -> bool:
        return self.readiness() == (200, "ready", "up", "up", "up")

    def recover(self) -> None:
        """Ends all trouble, and waits until the service has noticed."""
        self.redis.set("pass")
        self.model.set("pass")
        eventually(self.is_ready)


@contextmanager
def started(
    env: dict[str, str], vllm_url: str, server: RedisServer, folder: Path, mood: Mood
) -> Iterator[Stack]:
    redis, model = Proxy(server.port), Proxy(httpx.URL(vllm_url).port or 80)
    for proxy in (redis, model):
        proxy.set(mood)
    service = Service(
        folder,
        env={
            **env,
            **LIMITS,
            "RECLM_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "RECLM_VLLM_URL": f"http://127.0.0.1:{model.port}",
        },
    )
    try:
        service.start()
        stack = Stack(service, redis, model, server)
        yield stack
        stack.api.close()
    finally:
        service.process.stop()
        redis.close()
        model.close()


@pytest.fixture(scope="module")
def lasting(
    service_env: dict[str, str], vllm_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), persistent=True)
    server.start()
    folder = tmp_path_factory.mktemp("service")
    with started(service_env, vllm_url, server, folder, "pass") as stack:
        stack.generated("known", HEAT)
        yield stack
    server.process.stop()


@pytest.fixture
def stack(lasting: Stack) -> Iterator[Stack]:
    """The same service for every test, which must have been left able to work."""
    assert lasting.is_ready()
    yield lasting
    lasting.recover()


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code
    assert int(response.headers["Retry-After"]) >= 1


def test_nothing_is_there_at_the_start(
    service_env: dict[str, str], vllm_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    with started(service_env, vllm_url, redis_server, tmp_path, "refuse") as stack:
        assert stack.api.get("/healthz").status_code == 200
        assert stack.readiness() == (503, "unready", "down", "down", "up")
        assert_problem(stack.ask("early", HEAT), 503, "store-unavailable")

        stack.redis.set("pass")
        eventually(lambda: stack.readiness() == (200, "degraded", "up", "down", "up"))
        assert_problem(stack.ask("early", HEAT), 503, "model-unavailable")

        stack.model.set("pass")
        eventually(stack.is_ready)
        assert stack.generated("early", HEAT)["status"] == "cached"


@pytest.mark.parametrize("mood", GONE)
def test_redis_goes_and_comes_back(stack: Stack, mood: Mood) -> None:
    known = stack.profile("known", HEAT)
    stack.redis.set(mood)

    assert_problem(stack.ask("known", HEAT), 503, "store-unavailable")
    assert_problem(stack.ask("unknown", HEAT), 503, "store-unavailable")
    assert_problem(stack.api.get("/profiles/user/known"), 503, "store-unavailable")
    assert_problem(stack.api.delete("/profiles/user/known"), 503, "store-unavailable")
    assert_problem(stack.api.get("/items"), 503, "store-unavailable")
    rows = stack.api.post(
        "/profiles/user:batch",
        content=b'{"id":"known"}\n{"id":"known"}\n',
        headers={"Content-Type": "application/x-ndjson"},
    )
    errors = [json.loads(line)["error"]["code"] for line in rows.text.splitlines()]
    assert errors == ["store-unavailable"] * 2
    assert stack.api.get("/healthz").status_code == 200
    eventually(lambda: stack.readiness() == (503, "unready", "down", "up", "up"))

    stack.recover()
    assert stack.profile("known", HEAT) == {**known, "status": "cached"}


def test_redis_goes_while_the_model_writes(stack: Stack) -> None:
    stack.model.set("hold")
    with ThreadPoolExecutor(1) as pool:
        before = stack.model.forwarded
        asking = pool.submit(stack.profile, "interrupted", HEAT)
        # Only who knows that it has the lease asks the model. That the lease lies in Redis is not
        # enough: the reply that says so could still be cut off.
        eventually(lambda: asking.done() or stack.model.forwarded > before)
        stack.redis.set("refuse")
        stack.model.set("pass")
        written = asking.result()

    assert written["status"] == "generated"
    stack.recover()
    # It could not be stored, and its lease has to run out. Then all is as if nothing had been.
    assert stack.api.get("/profiles/user/interrupted").status_code == 404
    stack.generated("interrupted", HEAT)


def test_a_deadline_holds_though_redis_hangs(stack: Stack) -> None:
    stack.redis.set("hang")
    response = stack.ask("known", HEAT, deadline_ms=50)
    assert_problem(response, 503, "store-unavailable")
    assert "deadline" in response.json()["detail"]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """A model server that lists the model and says the same to every prompt; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(status, body)

        def do_GET(self) -> None:
            self._answer(status, body)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keeps quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_port)
        server.shutdown()


def assert_served_without_a_model(
    stack: Stack, known: dict[str, Any], status: int, code: str
) -> None:
    """Hits as ever; the stale profile for who has one; a problem for who has none."""
    with ThreadPoolExecutor() as pool:
        unknown = pool.submit(stack.ask, "unknown", HEAT)
        changed = pool.submit(stack.profile, "known", HEAT, CASINO)
        refreshed = pool.submit(stack.profile, "known", HEAT, refresh=True)
        assert stack.profile("known", HEAT) == {**known, "status": "cached"}
        assert_problem(unknown.result(), status, code)
        assert changed.result() == refreshed.result() == {**known, "status": "stale"}
    assert stack.profile("known", HEAT) == {**known, "status": "cached"}
    assert stack.api.get("/profiles/user/unknown").status_code == 404


def assert_works_again(stack: Stack, id_: str) -> None:
    stack.recover()
    stack.generated(id_, BABE)
    assert stack.profile(id_, BABE)["status"] == "cached"


@pytest.mark.parametrize("mood", GONE)
def test_the_model_goes_and_comes_back(stack: Stack, mood: Mood) -> None:
    known = stack.profile("known", HEAT)
    stack.model.set(mood)

    assert_served_without_a_model(stack, known, 503, "model-unavailable")
    eventually(lambda: stack.readiness() == (200, "degraded", "up", "down", "up"))
    assert_works_again(stack, f"after {mood}")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        pytest.param(500, b'{"error": "boom"}', "model-unavailable", id="500"),
        pytest.param(200, b"<html>a router's login</html>", "model-unavailable", id="html"),
        pytest.param(200, b'{"choices": []}', "model-unavailable", id="no choices"),
        pytest.param(
            200,
            b'{"choices": [{"message": {"content": "As a helpful assistant, 1234567890"}}]}',
            "malformed-generation",
            id="prose",
        ),
    ],
)
def test_the_model_server_answers_nonsense(
    stack: Stack, vllm_url: str, status: int, body: bytes, code: str
) -> None:
    known = stack.profile("known", HEAT)
    with answering(status, body) as port:
        stack.model.retarget(port)
        expected = 502 if code == "malformed-generation" else 503
        assert_served_without_a_model(stack, known, expected, code)
        eventually(lambda: stack.readiness() == (200, "degraded", "up", "down", "up"))
        stack.model.retarget(httpx.URL(vllm_url).port or 80)
    assert_works_again(stack, f"after {status} {len(body)}")


def test_at_the_deadline_a_degraded_profile_and_the_real_one_follows(stack: Stack) -> None:
    stack.model.set("hold")
    degraded = stack.profile("hurried", CASINO, HEAT, deadline_ms=300)
    assert stack.api.get("/profiles/user/hurried").status_code == 404
    stack.model.set("pass")
    followed = eventually(lambda: found(stack, "hurried"))

    assert degraded["status"] == "degraded"
    assert degraded["interests"] == ["Drama", "Action", "Crime"]
    assert followed["status"] == "cached"
    assert followed["text"] != degraded["text"]
    assert stack.profile("hurried", CASINO, HEAT) == followed

    stack.model.set("hold")
    stale = stack.profile("hurried", CASINO, HEAT, BABE, deadline_ms=300)
    assert stale == {**followed, "status": "stale"}
    stack.model.set("pass")
    eventually(lambda: found(stack, "hurried")["input_hash"] != followed["input_hash"])


def found(stack: Stack, id_: str) -> dict[str, Any]:
    """Returns a stored profile, empty if there is none."""
    response = stack.api.get(f"/profiles/user/{id_}")
    body: dict[str, Any] = response.json()
    return body if response.status_code == 200 else {}


def test_redis_is_killed_and_started_again(stack: Stack) -> None:
    item = {"title": "Babe (1995)", "category": "Comedy", "description": ""}
    assert stack.api.put("/items/pig", json=item).status_code == 200
    written = stack.generated("lasting", "pig")

    stack.server.process.kill()
    assert_problem(stack.ask("lasting", "pig"), 503, "store-unavailable")
    stack.server.start()
    eventually(stack.is_ready)

    assert stack.profile("lasting", "pig") == written
    kept = {"id": "pig", "hidden": False, "expires_at": None, **item}
    assert stack.api.get("/items/pig").json() == kept


WORDS = [f"{a}{b} genre" for a in "bcdfghklmn" for b in ("amber", "olive", "scarlet", "teal")]
"""Categories, each of one item: a degraded profile shows from which item it was made."""


def test_nobody_gets_the_answer_to_anothers_question(stack: Stack) -> None:
    """Replies that come late, after their reader gave up, must not reach the next one.

    The model is away, so that all answers come from Redis: hits, catalogue items, and degraded
    profiles made from a catalogue item.
    """
    readers = [f"reader {number}" for number in range(40)]
    stack.profile("known", HEAT)
    copy_profile(stack.server.client(), "known", readers)
    items = [
        {"id": f"item {number}", "title": f"Title {number}", "category": words}
        for number, words in enumerate(WORDS)
    ]
    put = stack.api.post(
        "/items:batch",
        content="\n".join(map(json.dumps, items)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert put.text.count('"status_code":200') == len(items)
    stack.model.set("hang")

    asyncio.run(_storm(stack, readers))

    # Generations that nobody waits for any more end here, and cost the model nothing.
    stack.redis.set("pass")
    stack.model.set("refuse")
    eventually(lambda: not stack.server.client().keys("l:*"))
    stack.recover()
    for reader in readers:
        assert stack.ask(reader, HEAT).json()["identities"][0] == f"reader {reader}"


async def _storm(stack: Stack, readers: list[str]) -> None:
    """Asks while Redis' replies are delayed and cut, until there was enough of every answer."""
    moods = random.Random(0)
    count = Counter[str]()
    enough = Counter(hit=150, item=150, degraded=50, refused=100)

    async def ask_on(client: httpx.AsyncClient, rng: random.Random) -> None:
        while not enough <= count:
            number = rng.randrange(len(readers))
            count[await _ask_one(client, rng.choice(["hit", "item", "new"]), number, rng)] += 1

    async with httpx.AsyncClient(base_url=stack.service.url, timeout=WITHIN_S) as client:
        asking = [asyncio.create_task(ask_on(client, random.Random(seed))) for seed in range(24)]
        while any(not task.done() for task in asking):
            stack.redis.set("pass", delay_s=moods.choice([0, 0.005, 0.01, 0.02]))
            await asyncio.sleep(0.3)
            stack.redis.set(moods.choice(["pass", "cut", "refuse", "hold"]))
            await asyncio.sleep(0.05)
        await asyncio.gather(*asking)


async def _ask_one(client: httpx.AsyncClient, what: str, number: int, rng: random.Random) -> str:
    """Asks once, often with less time than it takes; returns what came, if it was the right one."""
    deadline = rng.randrange(5, 100)
    if what == "item":
        response = await client.get(f"/items/item {number}")
    else:
        body = {"id": f"reader {number}", "history": [HEAT], "deadline_ms": deadline}
        if what == "new":
            body |= {"id": f"new {number}", "history": [f"item {number}"]}
        response = await client.post("/profiles/user", json=body)
    if response.status_code == 503:
        return "refused"
    assert response.status_code == 200, response.text
    answer = response.json()
    if what == "item":
        assert (answer["id"], answer["title"]) == (f"item {number}", f"Title {number}")
        return what
    assert answer["id"] == body["id"]
    if what == "hit":
        assert answer["identities"][0] == f"reader reader {number}"
        return what
    assert answer["interests"][0] == WORDS[number]
    return str(answer["status"])
