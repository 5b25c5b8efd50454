"""Connections that ask for too much: each was held open, or held in memory, without a limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from services.profiles.api.connections import METRICS, LimitedProtocol, Limits
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

PATIENT = Limits(
    header_bytes=1024,
    connections=8,
    header_timeout_s=600,
    body_timeout_s=600,
    write_timeout_s=600,
)
"""No test may end because a time of these is over."""
SOON = 0.05
HANGS_S = 60


@dataclass(frozen=True)
class Running:
    port: int
    metrics: Metrics
    bodies: list[bytes | None]
    """What was read; None where the caller went away."""
    go_on: asyncio.Event
    """Lets /wait answer."""

    def refused(self, code: str) -> float:
        return self.metrics.errors.labels(code)._value.get()


def application(running: dict[str, Any]) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Metrics]]:
        yield {METRICS: running["metrics"]}

    app = FastAPI(lifespan=lifespan)

    @app.post("/read")
    async def read(request: Request) -> Response:
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
        except Exception:
            running["bodies"].append(None)
            raise
        running["bodies"].append(body)
        return Response(b"%d" % len(body))

    @app.post("/refuse")
    async def refuse() -> Response:
        return Response(b"no", 401)

    @app.get("/wait")
    async def wait() -> Response:
        await running["go_on"].wait()
        return Response(b"waited")

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(64 * 1024 * 1024))

    return app


@contextlib.asynccontextmanager
async def serving(limits: Limits) -> AsyncIterator[Running]:
    parts: dict[str, Any] = {"metrics": Metrics(), "bodies": [], "go_on": asyncio.Event()}
    config = uvicorn.Config(
        application(parts),
        port=0,
        http=partial(LimitedProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        timeout_keep_alive=600,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield Running(server.servers[0].sockets[0].getsockname()[1], **parts)
    finally:
        parts["go_on"].set()
        server.should_exit = True
        await task


@dataclass
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def rest(self) -> bytes:
        """Returns all that comes until the server ends the connection."""
        data = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(HANGS_S):
                while chunk := await self.reader.read(65536):
                    data += chunk
        return data

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(HANGS_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode().rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, body


@contextlib.asynccontextmanager
async def calling(running: Running) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    yield Caller(reader, writer)
    writer.close()


def head(path: str, *, method: str = "POST", length: int = 0, more: str = "") -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n"
    return lines.encode()


async def is_refused(caller: Caller, running: Running, status: int, code: str) -> None:
    found, headers, body = await caller.answer()
    problem = json.loads(body)
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == problem["request_id"]
    assert problem["detail"]
    assert await caller.rest() == b""
    assert running.refused(code) == 1


async def test_what_is_within_the_limits_is_answered() -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        for size in (0, 5, 500_000):
            await caller.send(head("/read", length=size) + b"x" * size)
            assert (await caller.answer())[2] == b"%d" % size
        # A body in small chunks has more framing than content, and is no header.
        await caller.send(
            b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * 2000
            + b"0\r\n\r\n"
        )
        assert (await caller.answer())[2] == b"2000"


async def test_two_requests_in_one_piece_are_answered_in_order() -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        await caller.send((head("/read", length=900) + b"x" * 900) * 3)
        assert [(await caller.answer())[2] for _ in range(3)] == [b"900"] * 3


@pytest.mark.parametrize(
    "endless",
    [
        b"x" * 50_000,
        b"GET /" + b"x" * 50_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000,
    ],
    ids=["nothing known", "path", "header", "headers"],
)
async def test_an_endless_head_ends_at_the_limit(endless: bytes) -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        for start in range(0, len(endless), 500):
            await caller.send(endless[start : start + 500])
        data = await caller.rest()
        assert b" 431 " in data or b" 400 " in data or data == b""
        assert running.refused("headers-too-large") + running.refused("malformed-request") == 1


async def test_a_head_over_the_limit_in_one_piece_is_refused() -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        await caller.send(head("/read", more=f"X: {'x' * 1100}\r\n"))
        await is_refused(caller, running, 431, "headers-too-large")


async def test_endless_trailers_end_at_the_limit() -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        await caller.send(b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await caller.send(b"1\r\nx\r\n0\r\n")
        for _ in range(2000):  # more than the server reads at a time
            await caller.send(b"a: " + b"b" * 500 + b"\r\n")
        data = await caller.rest()
        assert b" 431 " in data or data == b""
        assert running.refused("headers-too-large") == 1
        assert running.bodies in ([], [None])


async def test_what_is_no_http_is_a_problem_document() -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        await caller.send(b"no http at all\r\n\r\n")
        await is_refused(caller, running, 400, "malformed-request")


async def test_requests_that_wait_behind_one_are_limited() -> None:
    async with serving(PATIENT) as running, calling(running) as caller:
        await caller.send(head("/wait", method="GET") * 20)
        await is_refused(caller, running, 400, "malformed-request")


async def test_a_silent_connection_is_closed() -> None:
    limits = replace(PATIENT, header_timeout_s=SOON)
    async with serving(limits) as running, calling(running) as caller:
        assert await caller.rest() == b""


@pytest.mark.parametrize("part", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_half_a_head_is_not_waited_for(part: bytes) -> None:
    limits = replace(PATIENT, header_timeout_s=SOON)
    async with serving(limits) as running, calling(running) as caller:
        await caller.send(part)
        await is_refused(caller, running, 408, "request-timeout")


@pytest.mark.parametrize("part", [b"\r\n", b"GET /"])
async def test_half_a_head_after_a_request_is_not_waited_for(part: bytes) -> None:
    """Whatever came ended the wait for the next request, even an empty line."""
    limits = replace(PATIENT, header_timeout_s=SOON)
    async with serving(limits) as running, calling(running) as caller:
        await caller.send(head("/read"))
        assert (await caller.answer())[0] == 200
        await caller.send(part)
        await is_refused(caller, running, 408, "request-timeout")


async def test_half_a_body_is_not_waited_for() -> None:
    limits = replace(PATIENT, body_timeout_s=SOON)
    async with serving(limits) as running, calling(running) as caller:
        await caller.send(head("/read", length=100) + b"half")
        await is_refused(caller, running, 408, "request-timeout")
        assert running.bodies == [None]


async def test_drops_of_a_body_do_not_buy_time() -> None:
    limits = replace(PATIENT, body_timeout_s=SOON)
    async with serving(limits) as running, calling(running) as caller:
        await caller.send(head("/read", length=1_000_000))
        while not caller.reader.at_eof() and not running.refused("request-timeout"):
            await caller.send(b"x")
            await asyncio.sleep(0.005)
        assert b" 408 " in await caller.rest()


async def test_the_rest_of_a_body_that_was_answered_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.profiles.api.connections._LINGER_S", SOON)
    async with serving(PATIENT) as running, calling(running) as caller:
        await caller.send(head("/refuse", length=100) + b"half")
        assert (await caller.answer())[0] == 401
        assert await caller.rest() == b""


async def test_a_request_may_wait_longer_for_its_answer_than_for_its_bytes() -> None:
    limits = replace(PATIENT, header_timeout_s=SOON, body_timeout_s=SOON)
    async with serving(limits) as running, calling(running) as caller:
        await caller.send(head("/wait", method="GET"))
        async with calling(running) as other:
            assert await other.rest() == b""  # as long as a time of these takes
        running.go_on.set()
        assert (await caller.answer())[2] == b"waited"


async def test_an_answer_that_nobody_reads_is_dropped() -> None:
    limits = replace(PATIENT, write_timeout_s=SOON)
    async with serving(limits) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
        writer.write(head("/large", method="GET"))
        # The reader takes twice its limit and no more.
        async with asyncio.timeout(HANGS_S):
            while not writer.transport.is_closing() and not reader.exception():
                await asyncio.sleep(0.01)
                writer.write(b"\r\n")
        writer.close()


async def test_connections_over_the_limit_are_refused_and_the_others_stay() -> None:
    async with serving(PATIENT) as running, contextlib.AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(calling(running)) for _ in range(8)]
        for caller in callers:
            await caller.send(head("/read"))
            assert (await caller.answer())[0] == 200
        async with calling(running) as late:
            found, headers, _ = await late.answer()
            assert (found, headers["retry-after"]) == (429, "1")
            assert await late.rest() == b""
        await callers[0].send(head("/read", length=1) + b"x")
        assert (await callers[0].answer())[2] == b"1"
        callers[0].writer.close()
        await callers[0].writer.wait_closed()
        async with asyncio.timeout(HANGS_S):
            while True:
                async with calling(running) as again:
                    await again.send(head("/read"))
                    if (await again.answer())[0] == 200:
                        break
