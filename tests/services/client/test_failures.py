"""Calls of both clients to a real server that refuses, delays, cuts and answers nonsense."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from reclm_client import (
    ConnectionFailed,
    InvalidRequest,
    MalformedAnswer,
    NotFound,
    ReclmApiError,
    TimedOut,
    Timeouts,
    Unavailable,
)
from tests.services.client.steps import Connect, cut, good, refuse, script

if TYPE_CHECKING:
    from tests.services.client.server import Reply, Request, Server


@pytest.mark.parametrize("body", [b"", b"[]", b'{"status":"new"}', b"\xff", b'{"status":"cached"}'])
def test_an_answer_that_is_no_profile_is_told(
    connect: Connect, server: Server, body: bytes
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.start(200, "application/json")
        await reply.send(body)

    server.handler = handler
    with pytest.raises(MalformedAnswer):
        connect().profile("user", "u1")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (422, InvalidRequest), (500, ReclmApiError), (503, Unavailable)],
)
def test_problems_become_errors(
    connect: Connect, server: Server, status: int, error: type[ReclmApiError]
) -> None:
    server.handler = refuse(status, "some-code", retry_after="0.002")
    with pytest.raises(error) as caught:
        connect().profile("user", "u1")
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.code) == (status, "some-code")
    assert caught.value.problem["extra"] == [1]
    assert caught.value.retry_after == 0.002
    assert "because" in str(caught.value)
    assert len(server.requests) == (3 if status == 503 else 1)


def test_an_error_page_of_a_proxy_is_an_error_too(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.start(502, "text/html")
        await reply.send(b"<h1>Bad gateway</h1>")

    server.handler = handler
    with pytest.raises(Unavailable, match="http-502") as caught:
        connect().profile("user", "u1")
    assert caught.value.problem == {}


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("status", [429, 503])
def test_overload_is_tried_again(
    connect: Connect, server: Server, status: int, refresh: bool
) -> None:
    server.handler = script(refuse(status, retry_after="0"), refuse(status), good)
    assert connect().profile("user", "u1", refresh=refresh).id == "u1"
    assert len(server.requests) == 3


def test_a_cut_answer_is_asked_for_again(connect: Connect, server: Server) -> None:
    server.handler = script(cut, good)
    assert connect().profile("user", "u1").id == "u1"
    assert len(server.requests) == 2


def test_a_refresh_that_may_have_happened_is_not_repeated(connect: Connect, server: Server) -> None:
    server.handler = script(cut, good)
    with pytest.raises(ConnectionFailed) as caught:
        connect().profile("user", "u1", refresh=True)
    assert caught.value.sent
    assert len(server.requests) == 1


def test_nobody_listening(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionFailed, match="cannot connect") as caught:
            connect(base_url=url).profile("user", "u1")
    assert not caught.value.sent


def test_silence_ends_in_the_read_timeout(connect: Connect, server: Server) -> None:
    async def silent(_: Request, reply: Reply) -> None:
        await asyncio.sleep(30)

    server.handler = script(silent, good)
    client = connect(timeouts=Timeouts(read=0.2))
    with pytest.raises(TimedOut):
        client.profile("user", "u1", refresh=True)
    server.handler = script(silent, good)
    assert client.profile("user", "u1").id == "u1"


def test_a_trickle_ends_in_the_total_timeout(connect: Connect, server: Server) -> None:
    async def trickle(_: Request, reply: Reply) -> None:
        await reply.start(200, "application/json")
        for _step in range(1_000):
            await reply.send(b" ")
            await asyncio.sleep(0.02)

    server.handler = trickle
    with pytest.raises(TimedOut, match=r"0\.3 s in all"):
        connect(timeouts=Timeouts(read=5, total=0.3)).profile("user", "u1")
    assert len(server.requests) == 1


def test_a_wait_longer_than_the_time_left_is_not_begun(connect: Connect, server: Server) -> None:
    server.handler = script(refuse(503, retry_after="25"), good)
    with pytest.raises(Unavailable):
        connect(timeouts=Timeouts(total=20)).profile("user", "u1")
    assert len(server.requests) == 1


def test_a_deadline_past_the_read_timeout_is_refused(connect: Connect, server: Server) -> None:
    client = connect(timeouts=Timeouts(read=1))
    with pytest.raises(ValueError, match="read timeout of 1 s"):
        client.profile("user", "u1", deadline_ms=1000)
    assert server.requests == []
