"""A model server that writes nothing: it keeps what it is asked, and answers 503."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx


class Recorder:
    """Listens on a free loopback port while it is entered.

    Args:
        like: URL of a real model server, whose list of models it gives as its own.
    """

    def __init__(self, like: str) -> None:
        self._models = httpx.get(f"{like}/v1/models", timeout=10).raise_for_status().content
        self._bodies: list[bytes] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recorder._answer(self, 200, recorder._models)

            def do_POST(self) -> None:
                recorder._bodies.append(self.rfile.read(int(self.headers["content-length"])))
                recorder._answer(self, 503, b"{}")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self) -> list[bytes]:
        """Returns the bodies that came since the last call."""
        bodies = self._bodies[:]
        self._bodies.clear()
        return bodies

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
