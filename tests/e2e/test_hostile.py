"""Callers who ask for too much, on the running service: each of these stopped or held a worker."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.model_server import MODEL, ModelServer
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.stack

KEY = "caller-key-0123456789"
BEARER = {"Authorization": f"Bearer {KEY}"}
JSON = {**BEARER, "Content-Type": "application/json"}
MIB = 1024 * 1024


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def service(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    service_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    with ModelServer() as model:
        service = Service(
            tmp_path_factory.mktemp("hostile"),
            workers=request.param,
            env={
                **service_env,
                "RECLM_REDIS_URL": redis_server.url,
                "RECLM_TENANT": "hostile",
                "RECLM_MODEL": MODEL,
                "RECLM_VLLM_URL": model.url,
                "RECLM_API_KEYS": KEY,
                "RECLM_HEADER_TIMEOUT_S": "0.5",
                "RECLM_BODY_TIMEOUT_S": "0.5",
            },
        )
        service.start()
        yield service
        service.process.stop()


@pytest.fixture
def api(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers=BEARER, timeout=60) as client:
        yield client


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Returns all that comes until the service ends the connection."""
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("kind", ["user", "item"])
def test_64_mib_of_ids_are_not_read(api: httpx.Client, kind: str) -> None:
    """/healthz stood still for six seconds, and the worker took 2.4 GB."""

    def ids() -> Iterator[bytes]:
        yield b'{"ids":['
        for _ in range(64):
            yield b"7," * (MIB // 2)
        yield b"7]}"

    answer = api.post(f"/embeddings/{kind}", content=ids(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert str(2 * MIB) in answer.json()["detail"]


def test_a_member_that_nobody_asked_for_is_not_read(api: httpx.Client) -> None:
    """53 MiB of it took 11.5 s and 3.7 GB, to be refused."""
    member = b",".join([b'{"":0}'] * 250_000)
    body = b'{"ids":["a"],"x":[' + member + b"]}"
    answer = api.post("/embeddings/user", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert "arrays and objects" in answer.json()["detail"]


def test_ten_thousand_ids_are_answered_as_json_and_as_arrow(api: httpx.Client) -> None:
    made = api.post(
        "/profiles/user", content=b'{"id":"ann","history":[{"title":"Heat"}]}', headers=JSON
    )
    assert made.status_code == 200, made.text
    body = json.dumps({"ids": ["ann", "nobody"] * 5000})
    answer = api.post("/embeddings/user", content=body, headers=JSON)
    rows = answer.json()["rows"]
    assert [row["id"] for row in rows] == ["ann", "nobody"] * 5000
    assert len(rows[9998]["vector"]) == answer.json()["dimension"] == 384
    assert rows[9999]["vector"] is None
    arrow = {**JSON, "Accept": "application/vnd.apache.arrow.stream"}
    assert api.post("/embeddings/user", content=body, headers=arrow).status_code == 200


def test_a_compressed_body_is_refused_as_such(api: httpx.Client) -> None:
    body = gzip.compress(b'{"id":"ann","history":[{"title":"Heat"}]}')
    for path in ("/profiles/user", "/score", "/interactions"):
        answer = api.post(path, content=body, headers={**JSON, "Content-Encoding": "gzip"})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


def test_endless_headers_end_before_any_key_is_asked_for(service: Service) -> None:
    """200 MiB of them were held."""
    with connected(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
        sent = 0
        try:
            while sent < 200 * MIB:
                connection.sendall(b"x" * 4096)
                sent += 4096
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 8 * MIB  # what the sockets hold


@pytest.mark.parametrize("part", [b"", b"GET /healthz HTTP/1.1\r\nHost:"], ids=["silent", "half"])
def test_a_connection_that_asks_for_nothing_is_closed(service: Service, part: bytes) -> None:
    """It was open after 75 seconds."""
    with connected(service) as connection:
        connection.sendall(part)
        assert rest(connection).startswith(b"HTTP/1.1 408 ") is bool(part)


def test_half_a_body_is_given_up(service: Service) -> None:
    with connected(service) as connection:
        head = "POST /profiles/user HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {KEY}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"id": ')
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request-timeout"' in answer


def test_probes_are_answered_and_told_no_more_than_they_need(api: httpx.Client) -> None:
    assert api.head("/healthz").status_code == 200
    assert api.get("/readyz").json()["dependencies"]["redis"]["status"] == "up"
    del api.headers["Authorization"]
    assert api.get("/readyz").json() == {"status": "ready"}
