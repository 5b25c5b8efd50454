"""Streaming batches of both clients: order, splits, cuts, how much is under way at once."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from reclm_client import (
    ConnectionFailed,
    InvalidRequest,
    Item,
    MalformedAnswer,
    ProfileRequest,
    Unavailable,
)
from tests.services.client.documents import profile, profile_lines
from tests.services.client.server import Cut, Reply, Request, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.client.steps import Connect

NDJSON = "application/x-ndjson"


def requests(count: int, **options: Any) -> list[ProfileRequest]:
    return [ProfileRequest(f"ü{number}", history=["7"], **options) for number in range(count)]


def names(request: Request) -> list[str]:
    return [row["id"] for row in request.rows()]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_rows_come_in_order_however_the_bytes_split(
    connect: Connect, server: Server, size: int
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, NDJSON)
        data = b"".join(profile_lines(names(request)))
        for start in range(0, len(data), size):
            await reply.send(data[start : start + size])

    server.handler = handler
    rows = list(connect(chunk_rows=2).profiles("user", requests(5)))
    assert [(row.row, row.id) for row in rows] == [(n, f"ü{n}") for n in range(5)]
    assert all(row.profile is not None and row.profile.id == row.id for row in rows)
    assert sorted(len(names(request)) for request in server.requests) == [1, 2, 2]
    assert {request.headers["content-type"] for request in server.requests} == {NDJSON}
    assert {request.path for request in server.requests} == {b"/profiles/user:batch"}


def test_no_rows_no_requests(connect: Connect, server: Server) -> None:
    assert list(connect().profiles("user", [])) == []
    assert server.requests == []


def test_a_bad_row_costs_no_other(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        error = {"code": "nothing-to-read", "detail": "empty", "status": 422}
        documents = [
            {"row": 0, "id": "ü0", "status_code": 200, "profile": profile("ü0")},
            {"row": 1, "id": None, "status_code": 422, "error": error},
            {"row": 2, "id": "ü2", "status_code": 200, "profile": profile("ü2")},
        ]
        await reply.start(200, NDJSON)
        await reply.send(b"".join(json.dumps(line).encode() + b"\n" for line in documents))

    server.handler = handler
    first, second, third = connect().profiles("user", requests(3))
    assert first.error is None
    assert third.profile is not None
    assert (second.row, second.id, second.status_code, second.profile) == (1, None, 422, None)
    assert isinstance(second.error, InvalidRequest)
    assert second.error.code == "nothing-to-read"


def cut_after(rows: int, *, clean: bool) -> Callable[[Request, Reply], Any]:
    """Answers some rows and half of the next, then cuts the connection, or just stops."""

    async def handler(request: Request, reply: Reply) -> None:
        lines = profile_lines(names(request))
        await reply.start(200, NDJSON)
        await reply.send(b"".join(lines[:rows]) + b"".join(lines[rows : rows + 1])[:40])
        if not clean and len(lines) > rows:
            raise Cut

    return handler


@pytest.mark.parametrize("clean", [False, True])
def test_only_rows_without_an_answer_are_sent_again(
    connect: Connect, server: Server, clean: bool
) -> None:
    server.handler = cut_after(2, clean=clean)
    rows = list(connect(chunks_in_flight=1).profiles("user", requests(5)))
    assert [(row.row, row.id) for row in rows] == [(n, f"ü{n}") for n in range(5)]
    assert [names(request) for request in server.requests] == [
        ["ü0", "ü1", "ü2", "ü3", "ü4"],
        ["ü2", "ü3", "ü4"],
        ["ü4"],
    ]


def test_a_refresh_under_way_is_not_sent_again(connect: Connect, server: Server) -> None:
    server.handler = cut_after(2, clean=False)
    rows = connect().profiles("user", requests(5, refresh=True))
    assert [next(rows).row, next(rows).row] == [0, 1]
    with pytest.raises(ConnectionFailed):
        next(rows)
    assert len(server.requests) == 1


def test_answered_refreshes_do_not_hold_back_the_rest(connect: Connect, server: Server) -> None:
    server.handler = cut_after(2, clean=False)
    rows = requests(2, refresh=True) + requests(3)[2:]
    assert [row.row for row in connect().profiles("user", rows)] == [0, 1, 2]
    assert len(server.requests) == 2


def test_tries_without_progress_end(connect: Connect, server: Server) -> None:
    server.handler = cut_after(0, clean=False)
    with pytest.raises(ConnectionFailed):
        list(connect().profiles("user", requests(2)))
    assert len(server.requests) == 3


def test_a_refused_chunk_is_tried_again_and_then_told(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.problem(503, "draining", retry_after="0")

    server.handler = handler
    with pytest.raises(Unavailable, match="draining"):
        list(connect().profiles("user", requests(2, refresh=True)))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"row": 1, "id": "a", "status_code": 200}\n'],
        [b"nonsense\n"],
        [*profile_lines(["a", "b"]), profile_lines(["c"])[0]],
    ],
)
def test_rows_out_of_turn_are_refused(connect: Connect, server: Server, lines: list[bytes]) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.start(200, NDJSON)
        await reply.send(b"".join(lines))

    server.handler = handler
    with pytest.raises(MalformedAnswer):
        list(connect().profiles("user", requests(2)))


def test_chunks_run_side_by_side_within_the_bound(connect: Connect, server: Server) -> None:
    here, before_the_first_answer = 0, 0
    three_here, two_done = asyncio.Event(), asyncio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        nonlocal here, before_the_first_answer
        here += 1
        if here == 3:
            three_here.set()
        await asyncio.wait_for(three_here.wait(), 10)
        if names(request)[0] == "ü0":
            await asyncio.wait_for(two_done.wait(), 10)  # the first chunk is answered last
            await asyncio.sleep(0.2)  # a fourth would have the time to come
            before_the_first_answer = len(server.requests)
        await reply.start(200, NDJSON)
        await reply.send(b"".join(profile_lines(names(request))))
        here -= 1
        if here == 1:
            two_done.set()

    server.handler = handler
    client = connect(chunk_rows=2, chunks_in_flight=3)
    assert [row.row for row in client.profiles("user", requests(20))] == list(range(20))
    assert before_the_first_answer == 3


def test_an_endless_batch_can_be_left(connect: Connect, server: Server) -> None:
    taken = 0

    def endless() -> Iterator[ProfileRequest]:
        nonlocal taken
        for taken in itertools.count(1):
            yield ProfileRequest(str(taken))

    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, NDJSON)
        await reply.send(b"".join(profile_lines(names(request))))

    server.handler = handler
    rows = connect(chunk_rows=2, chunks_in_flight=3).profiles("user", endless())
    assert [row.id for row in itertools.islice(rows, 5)] == ["1", "2", "3", "4", "5"]
    rows.close()
    # Three chunks in flight, two finished, and the row that showed that the last was full.
    assert taken <= 2 * (3 + 2) + 1


def test_a_row_that_cannot_be_written_ends_the_batch(connect: Connect, server: Server) -> None:
    rows = [ProfileRequest("a", history="a string")]
    with pytest.raises(TypeError, match="sequence"):
        list(connect().profiles("user", rows))
    with pytest.raises(ValueError, match="deadline_ms"):
        list(connect().profiles("user", [ProfileRequest("a", deadline_ms=10**9)]))
    assert server.requests == []


def test_items_are_put_in_batches(connect: Connect, server: Server) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        answers = []
        for row, item in enumerate(request.rows()):
            answer = {"row": row, "id": item["id"], "status_code": 200}
            if not item["title"]:
                answer |= {"status_code": 422, "error": {"code": "invalid-input", "detail": "no"}}
            answers.append(json.dumps(answer).encode() + b"\n")
        await reply.start(200, NDJSON)
        await reply.send(b"".join(answers))

    server.handler = handler
    wanted = [Item("1", "Heat"), Item("2", ""), Item("3", "\ud800 alone")]
    rows = list(connect(chunk_rows=2).put_items(wanted))
    assert [(row.row, row.id, row.status_code) for row in rows] == [
        (0, "1", 200),
        (1, "2", 422),
        (2, "3", 200),
    ]
    assert rows[1].error is not None
    assert rows[1].error.code == "invalid-input"


def test_long_rows_travel_in_more_chunks(connect: Connect, server: Server) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        answers = [
            {"row": row, "id": asked["id"], "status_code": 200}
            for row, asked in enumerate(request.rows())
        ]
        await reply.start(200, NDJSON)
        await reply.send(b"".join(json.dumps(answer).encode() + b"\n" for answer in answers))

    server.handler = handler
    lengths = [3_000_000] * 5 + [9_000_000] * 2
    wanted = [Item(str(n), "x" * length) for n, length in enumerate(lengths)]
    rows = list(connect(chunks_in_flight=1).put_items(wanted))
    assert [(row.row, row.id) for row in rows] == [(n, str(n)) for n in range(7)]
    assert [len(request.rows()) for request in server.requests] == [2, 2, 1, 1, 1]


def test_a_chunk_has_a_row(connect: Connect) -> None:
    with pytest.raises(ValueError, match="at least one row, not 0"):
        list(connect(chunk_rows=0).put_items([Item("1", "Heat")]))
