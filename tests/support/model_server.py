"""A fake OpenAI-compatible model server that can be made to fail."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

MODEL = "scripted"

_ANSWERS = {
    "User": "User identity: film lover, night owl, city dweller; "
    "User interests: dark humour, long talks, old music.",
    "Item": "Item identity: film lover, night owl, city dweller, old friend, young reader; "
    "Item interests: dark humour, long talks, old music, slow travel, good food.",
}


class ModelServer:
    """Serves one model, MODEL, that always writes the same profile of each kind.

    Attributes:
        status: The HTTP status of completions.
        headers: Additional headers of completions.
        body: The body of completions, instead of a profile.
        hanging: Accept requests, but answer none until `close`.
        free: Cleared, all answers wait until it is set.
        requests: The bodies of all requests for completions.
        authorizations: The Authorization header of each of them.
        models: What the server lists.
        tokenize: Status and body of answers to /tokenize.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        self.hanging = False
        self.free = threading.Event()
        self.free.set()
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.models: list[dict[str, Any]] = [{"id": MODEL, "max_model_len": 4096}]
        self.tokenize = (404, b'{"detail": "Not Found"}')
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        self.free.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                listed = {"object": "list", "data": server.models}
                self._answer(200, json.dumps(listed).encode(), {})

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/tokenize":
                    self._answer(*server.tokenize, {})
                    return
                server.requests.append(request)
                server.authorizations.append(self.headers["Authorization"])
                if server.hanging:
                    server._closing.wait()
                    return
                server.free.wait()
                body = server.body if server.body is not None else _completion(request)
                self._answer(server.status, body, server.headers)

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Logs nothing."""

        return Handler


def _completion(request: dict[str, Any]) -> bytes:
    kind = request["structured_outputs"]["regex"].split(" ", 1)[0]
    answer = {"role": "assistant", "content": _ANSWERS[kind]}
    return json.dumps(
        {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7},
        }
    ).encode()
