"""The proxy's damage can be told from what was sent, and connections go to servers in turn."""

from __future__ import annotations

import json
import random
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.proxy import Proxy, damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = json.dumps({"id": "ann", "phrases": ["film lover", "night owl"] * 20}).encode()


@pytest.fixture
def servers() -> Iterator[list[int]]:
    """Two servers, which answer with their own names."""
    running = []
    for name in ("first", "second"):

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_name = name

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Server-Name", self.server_name)
                self.send_header("Content-Length", str(len(ANSWER)))
                self.end_headers()
                self.wfile.write(ANSWER)

            def log_message(self, *args: object) -> None:
                """Keeps quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        running.append(server)
    yield [int(server.server_port) for server in running]
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(servers: list[int]) -> Iterator[Proxy]:
    proxy = Proxy(servers[0], seed=1)
    yield proxy
    proxy.close()


def test_damage_is_never_another_sound_text() -> None:
    drawn = random.Random(5)
    for _ in range(2000):
        found = damaged(ANSWER, drawn, holes=False)
        assert len(found) >= len(ANSWER)
        with pytest.raises(UnicodeDecodeError):
            found.decode()


def test_holes_make_it_shorter_and_nothing_else_does() -> None:
    drawn = random.Random(5)
    found = [damaged(ANSWER, drawn, holes=True) for _ in range(2000)]
    with_holes = [one for one in found if b"\xff" not in one]
    assert 800 < len(with_holes) < 1200
    assert all(len(one) < len(ANSWER) for one in with_holes)


def test_a_garbled_answer_is_not_read_as_sound(proxy: Proxy) -> None:
    proxy.set("garble")
    for _ in range(40):
        try:
            response = httpx.get(f"http://127.0.0.1:{proxy.port}", timeout=0.5)
            response.json()
        except (httpx.HTTPError, ValueError):
            continue
        # The damage was in a header, or the request was damaged and refused.
        assert response.content == ANSWER or response.status_code >= 400


def test_connections_go_to_the_servers_in_turn(proxy: Proxy, servers: list[int]) -> None:
    proxy.redirect(*servers)
    url = f"http://127.0.0.1:{proxy.port}"
    names = [httpx.get(url).headers["server-name"] for _ in range(6)]
    assert sorted(names) == ["first"] * 3 + ["second"] * 3
    proxy.redirect(servers[1])
    assert httpx.get(url).headers["server-name"] == "second"


def test_a_part_of_the_answers_is_cut(proxy: Proxy) -> None:
    proxy.set("cut", share=0.5)
    whole = 0
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: connection.recv(65536), b""))
            whole += said.endswith(ANSWER)
    assert 5 < whole < 55
