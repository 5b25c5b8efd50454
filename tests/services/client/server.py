"""A real HTTP server on a free port whose answers a test writes, down to the bytes and the cuts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn


@dataclass(frozen=True)
class Request:
    method: str
    path: bytes
    query: bytes
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Cut(Exception):
    """Raised by a handler, it makes uvicorn close the connection in the middle of the answer."""


class Reply:
    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self._send = send

    async def start(self, status: int, content_type: str, **headers: str) -> None:
        named = {"content-type": content_type, **headers}
        raw = [(key.replace("_", "-").encode(), value.encode()) for key, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def send(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def json(self, document: object, status: int = 200) -> None:
        await self.start(status, "application/json")
        await self.send(json.dumps(document).encode())

    async def problem(self, status: int, code: str, **headers: str) -> None:
        await self.start(status, "application/problem+json", **headers)
        problem = {"status": status, "code": code, "title": "No", "detail": "because", "extra": [1]}
        await self.send(json.dumps(problem).encode())

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


Handler = Callable[[Request, Reply], Awaitable[None]]


@dataclass
class Server:
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    handler: Handler | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        request = Request(scope["method"], scope["raw_path"], scope["query_string"], headers, body)
        self.requests.append(request)
        reply = Reply(send)
        assert self.handler is not None
        await self.handler(request, reply)
        await reply.end()


@contextmanager
def running() -> Iterator[Server]:
    app = Server()
    config = uvicorn.Config(
        app,
        port=0,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        app.url = f"http://127.0.0.1:{port}"
        yield app
    finally:
        server.should_exit = True
        thread.join()
