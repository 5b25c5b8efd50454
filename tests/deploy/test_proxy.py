"""The shipped configuration of the proxy, in a real HAProxy before a server that counts."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import ssl
import subprocess
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.support.compose import ROOT
from tests.support.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = ROOT / "deploy" / "proxy" / "haproxy.cfg"
LISTENS = "bind :8443 "


@dataclass
class Proxied:
    api: httpx.Client
    port: int
    trusted: ssl.SSLContext
    paths: list[str]


@contextlib.contextmanager
def backend(paths: list[str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path != "/readyz":
                paths.append(self.path)
            known = self.path == "/readyz" or "Authorization" in self.headers
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: Any) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed (Debian's package haproxy)")
    subprocess.run(
        [ROOT / "deploy" / "tls.sh", "localhost", tmp_path], check=True, capture_output=True
    )
    port = free_port()
    text = CONFIGURATION.read_text()
    assert LISTENS in text
    (tmp_path / "haproxy.cfg").write_text(text.replace(LISTENS, f"bind 127.0.0.1:{port} "))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "tls_pem"))
    paths: list[str] = []
    with (
        backend(paths) as behind,
        httpx.Client(
            base_url=f"https://localhost:{port}",
            verify=trusted,
            headers={"Authorization": "Bearer x"},
            timeout=30,
        ) as api,
    ):
        env = {"TLS_PEM": str(tmp_path / "tls_pem"), "SERVICE": f"127.0.0.1:{behind}"}
        command = [haproxy, "-db", "-f", str(tmp_path / "haproxy.cfg")]
        process = ServerProcess(command, log=tmp_path / "haproxy.log", env=env)

        def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return api.get("/up").status_code == 200
            return False

        process.start(answers, timeout_s=20)
        paths.clear()
        yield Proxied(api, port, trusted, paths)
        process.stop()


def test_calls_come_through_with_tls(proxied: Proxied) -> None:
    answer = proxied.api.get("/profiles/user/ann%2Fb?embedding=true")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert "max-age" in answer.headers["strict-transport-security"]
    assert proxied.paths == ["/profiles/user/ann%2Fb?embedding=true"]
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://localhost:{proxied.port}/").raise_for_status()


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/admin/scorers", "/%61dmin/scorers", "//admin/scorers", "/Metrics", "/admin"],
)
def test_what_operators_ask_is_not_answered_here(proxied: Proxied, path: str) -> None:
    assert proxied.api.get(f"https://localhost:{proxied.port}{path}").status_code == 404
    assert proxied.paths == []


def test_who_tries_keys_is_slowed(proxied: Proxied) -> None:
    """500 wrong keys in a row were all looked at."""
    del proxied.api.headers["Authorization"]
    answers = [proxied.api.get("/profiles/user/ann") for _ in range(100)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {401, 429}
    assert len(proxied.paths) == statuses.count(401) < 50
    assert answers[-1].headers["retry-after"] == "10"


def test_a_head_over_the_limit_does_not_come_through(proxied: Proxied) -> None:
    assert proxied.api.get("/ok", headers={"X": "x" * 12_000}).status_code == 200
    assert proxied.api.get("/large", headers={"X": "x" * 20_000}).status_code >= 400
    assert proxied.paths == ["/ok"]


def test_a_body_over_the_limit_of_all_calls_is_refused(proxied: Proxied) -> None:
    connection = http.client.HTTPSConnection(
        "localhost", proxied.port, context=proxied.trusted, timeout=30
    )
    connection.putrequest("POST", "/items:batch")
    connection.putheader("Content-Length", str(65 * 1024 * 1024))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert proxied.paths == []


def test_the_service_behind_the_proxy_asks_for_keys() -> None:
    """It listens on the loopback address for others than the proxy, and would start without."""
    overlay = yaml.safe_load((ROOT / "deploy" / "compose.tls.yml").read_text())["services"]
    assert overlay["service"]["environment"]["RECLM_BIND"] == "${RECLM_TLS_BIND:-0.0.0.0}"
    assert overlay["proxy"]["ports"][0].startswith("${RECLM_TLS_BIND:-0.0.0.0}:")
