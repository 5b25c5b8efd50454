"""An HTTP server in place of a teacher, whose answers a test decides."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

PROFILE = "User identity: a b {0}, c d {0}, e f; User interests: g h {0}, i j, k l {0}."


def good(number: int) -> tuple[int, dict[str, str], Any]:
    """Returns a well-formed answer, another one for each request."""
    return 200, {}, completion(PROFILE.format(chr(97 + number % 26) + chr(97 + number // 26)))


def completion(text: str | None) -> dict[str, Any]:
    """Returns a chat completion with a text, of 100 prompt and 10 answer tokens."""
    return {
        "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


class TeacherServer:
    """Serves `chat/completions`.

    Attributes:
        respond: Number of the request, from 0 -> status, headers, JSON body.
        requests: The bodies, in order.
        authorizations: The Authorization headers.
        most_at_once: Requests that were under way at one time, at most.
    """

    def __init__(self) -> None:
        self.respond: Callable[[int], tuple[int, dict[str, str], Any]] = good
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    number = len(server.requests)
                    server.requests.append(request)
                    server.authorizations.append(self.headers["Authorization"])
                    server._now += 1
                    server.most_at_once = max(server.most_at_once, server._now)
                assert self.path == "/v1/chat/completions"
                status, headers, document = server.respond(number)
                body = json.dumps(document).encode()
                with server._lock:
                    server._now -= 1
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Keeps quiet."""

        return Handler
