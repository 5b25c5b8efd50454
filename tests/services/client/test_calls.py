"""Single calls of both clients, against a real server that answers, delays and cuts."""

from __future__ import annotations

import asyncio
import inspect
import io
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
import pytest

from services.client import (
    AsyncReclmClient,
    Component,
    ConnectionFailed,
    Dependency,
    Event,
    InvalidRequest,
    Item,
    MalformedAnswer,
    NotFound,
    Profile,
    ProfileVersion,
    Readiness,
    ReclmApiError,
    ReclmClient,
    TimedOut,
    Timeouts,
    Unavailable,
    embeddings,
)
from tests.services.client import documents
from tests.services.client.server import Cut, Handler, Reply, Request, Server

if TYPE_CHECKING:
    from pathlib import Path

Connect = Callable[..., Any]


def script(*steps: Handler) -> Handler:
    """Answers the first request with the first step, and so on; the last step stays."""
    left = list(steps)

    async def handler(request: Request, reply: Reply) -> None:
        step = left.pop(0) if len(left) > 1 else left[0]
        await step(request, reply)

    return handler


async def good(_: Request, reply: Reply) -> None:
    await reply.json(documents.profile())


async def cut(_: Request, reply: Reply) -> None:
    await reply.start(200, "application/json", content_length="1000")
    await reply.send(b'{"status"')
    raise Cut


def refuse(status: int, code: str = "overloaded", **headers: str) -> Handler:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.problem(status, code, **headers)

    return handler


def test_profile_sends_what_differs_from_the_defaults(connect: Connect, server: Server) -> None:
    server.handler = good
    client = connect()
    client.profile("user", "u1")
    client.profile(
        "item",
        "i1",
        history=["7", Item("", "Heat (1995)", "Crime"), Item("9", "Alien")],
        item=Item("i1", "Brazil", description="Ducts"),
        refresh=True,
        max_age_s=1.5,
        deadline_ms=200,
        embedding=True,
        background=True,
    )
    assert [request.path for request in server.requests] == [b"/profiles/user", b"/profiles/item"]
    assert server.requests[0].headers["content-type"] == "application/json"
    assert server.requests[0].json() == {"id": "u1"}
    assert server.requests[1].json() == {
        "id": "i1",
        "history": [
            "7",
            {"title": "Heat (1995)", "category": "Crime"},
            {"id": "9", "title": "Alien"},
        ],
        "item": {"title": "Brazil", "description": "Ducts"},
        "refresh": True,
        "max_age_s": 1.5,
        "deadline_ms": 200,
        "embedding": True,
        "background": True,
    }


def test_profile_reads_every_member(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.json(documents.profile(status="stale", embedding=[0.5, -1]))

    server.handler = handler
    part = Component("m", "abc")
    assert connect().profile("user", "u1") == Profile(
        status="stale",
        kind="user",
        id="u1",
        identities=("a", "b", "c"),
        interests=("x", "y", "z"),
        text="User identity: a, b, c; User interests: x, y, z.",
        input_hash="00ff",
        created_at=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        version=ProfileVersion(part, None, part, part),
        embedding=(0.5, -1.0),
    )


@pytest.mark.parametrize(
    "name", ["a", "a/b", "..", ".", "%2F", "100%", "a b", "é:日本?#[]", "+&=;", "//", "u.1"]
)
def test_ids_arrive_whole_in_one_segment(connect: Connect, server: Server, name: str) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.json(documents.profile(name))

    server.handler = handler
    assert connect().get_profile("user", name, embedding=True).id == name
    segments = server.requests[0].path.split(b"/")
    assert [unquote_to_bytes(part).decode() for part in segments] == ["", "profiles", "user", name]
    assert server.requests[0].query == b"embedding=true"


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


def test_deletes_return_nothing(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.start(204, "text/plain")

    server.handler = handler
    client = connect()
    assert client.delete_profile("item", "a/b") is None
    assert client.delete_item("c d") is None
    assert [(request.method, request.path) for request in server.requests] == [
        ("DELETE", b"/profiles/item/a%2Fb"),
        ("DELETE", b"/items/c%20d"),
    ]


def test_items_are_put_and_read(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.json({"id": "7", "title": "Heat", "category": "Crime", "description": ""})

    server.handler = handler
    client = connect()
    heat = Item("7", "Heat", "Crime")
    assert client.put_item(heat) == heat
    assert client.get_item("7") == heat
    assert [request.method for request in server.requests] == ["PUT", "GET"]
    assert server.requests[0].json() == {"title": "Heat", "category": "Crime"}


def test_the_catalogue_is_read_page_by_page(connect: Connect, server: Server) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        second = b"cursor=n%26xt" in request.query
        names = ["c"] if second else ["a", "b"]
        items = [{"id": name, "title": "T", "category": "", "description": ""} for name in names]
        await reply.json({"items": items, "cursor": None if second else "n&xt"})

    server.handler = handler
    items = connect().items("toy story", page_size=2)
    assert next(items).id == "a"
    assert len(server.requests) == 1
    assert [item.id for item in items] == ["b", "c"]
    assert [request.query for request in server.requests] == [
        b"q=toy+story&limit=2",
        b"q=toy+story&cursor=n%26xt&limit=2",
    ]


def test_events_are_told_by_the_thousand(connect: Connect, server: Server) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.json({"events": len(request.json()["events"]), "users": 1})

    server.handler = handler
    at = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
    assert connect().add_interactions(Event("u", str(number), at) for number in range(1001)) == 1001
    assert connect().add_interactions([]) == 0
    first, second = (request.json()["events"] for request in server.requests)
    assert (len(first), second) == (
        1000,
        [{"user_id": "u", "item_id": "1000", "timestamp": 1_767_323_045_678}],
    )
    assert {request.path for request in server.requests} == {b"/interactions"}


def test_an_event_without_a_time_is_the_same_when_it_is_sent_again(
    connect: Connect, server: Server
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.json({"events": 1, "users": 1})

    server.handler = script(cut, handler)
    before = datetime.now(UTC).timestamp() * 1000
    assert connect().add_interactions([Event("u", "i")]) == 1
    first, again = (request.json() for request in server.requests)
    assert first == again
    assert before - 1 <= first["events"][0]["timestamp"] <= datetime.now(UTC).timestamp() * 1000


def test_an_event_has_a_time_zone() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Event("u", "i", datetime(2026, 1, 2))


def test_interactions_are_read(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        rows = [{"item_id": "7", "timestamp": "2026-01-02T03:04:05.678Z"}]
        await reply.json({"user_id": "a/b", "events": rows})

    server.handler = handler
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert connect().interactions("a/b") == (Event("a/b", "7", at),)
    assert server.requests[0].path == b"/interactions/a%2Fb"


@pytest.mark.parametrize(("status", "code"), [("ready", 200), ("degraded", 200), ("unready", 503)])
def test_readiness_is_an_answer_even_when_unready(
    connect: Connect, server: Server, status: str, code: int
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        redis = {"status": "down", "latency_ms": 2, "error": "refused"}
        body = {"status": status, "dependencies": {"redis": redis}, "version": documents.VERSION}
        await reply.json(body, code)

    server.handler = handler
    part = Component("m", "abc")
    version = ProfileVersion(part, None, part, part)
    expected = Readiness(status, {"redis": Dependency("down", 2.0, "refused")}, version)  # type: ignore[arg-type]
    assert connect().ready() == expected


def test_readiness_of_a_draining_service_is_an_error_at_once(
    connect: Connect, server: Server
) -> None:
    server.handler = refuse(503, "draining", retry_after="1")
    with pytest.raises(Unavailable, match="draining"):
        connect().ready()
    assert len(server.requests) == 1


def arrow(ids: list[str], dimension: int = 2) -> bytes:
    """Vectors [i, i] for an id "i", none for ids that begin with "no".

    Without a single vector the dimension is not known, and says 1.
    """
    missing = [name.startswith("no") for name in ids]
    numbers = [[99.0 if name.startswith("no") else float(name)] * dimension for name in ids]
    flat = pa.array(np.array(numbers, dtype=np.float16).ravel())
    vectors = (
        pa.nulls(len(ids), pa.list_(pa.float16(), 1))
        if all(missing)
        else pa.FixedSizeListArray.from_arrays(flat, dimension, mask=pa.array(missing))
    )
    versions = pa.array([None if absent else "v1" for absent in missing], pa.string())
    table = pa.table({"id": pa.array(ids), "vector": vectors, "version": versions})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return stream.getvalue()


def test_embeddings_come_as_one_array(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, "application/vnd.apache.arrow.stream")
        await reply.send(arrow(request.json()["ids"]))

    server.handler = handler
    monkeypatch.setattr(embeddings, "IDS_A_CALL", 3)
    result = connect().embeddings("user", ["1", "no", "3", "no4", "no5", "no6", "4", "none"])
    assert result.ids == ("1", "no", "3", "no4", "no5", "no6", "4", "none")
    assert result.vectors.dtype == np.float32
    expected = [[1, 1], [0, 0], [3, 3], [0, 0], [0, 0], [0, 0], [4, 4], [0, 0]]
    assert result.vectors.tolist() == expected
    assert result.found.tolist() == [any(vector) for vector in expected]
    assert result.versions == tuple("v1" if any(vector) else None for vector in expected)
    assert [len(request.json()["ids"]) for request in server.requests] == [3, 3, 2]
    assert server.requests[0].headers["accept"] == "application/vnd.apache.arrow.stream"
    assert connect().embeddings("user", ["no"]).vectors.shape == (1, 0)
    assert connect().embeddings("user", []).vectors.shape == (0, 0)


def test_embeddings_of_two_dimensions_are_not_mixed(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, "application/vnd.apache.arrow.stream")
        await reply.send(arrow(request.json()["ids"], dimension=1 + len(server.requests)))

    server.handler = handler
    monkeypatch.setattr(embeddings, "IDS_A_CALL", 1)
    with pytest.raises(MalformedAnswer, match="dimension"):
        connect().embeddings("user", ["1", "2"])


@pytest.mark.parametrize("stream", [b"", b"no arrow", arrow(["2", "1"]), arrow(["1", "2"])[:-60]])
def test_embeddings_of_other_ids_or_damaged_are_refused(
    connect: Connect, server: Server, stream: bytes
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.start(200, "application/vnd.apache.arrow.stream")
        await reply.send(stream)

    server.handler = handler
    with pytest.raises(MalformedAnswer):
        connect().embeddings("user", ["1", "2"])


def test_the_address_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.handler = good
    monkeypatch.delenv("RECLM_URL", raising=False)
    with pytest.raises(ValueError, match="RECLM_URL"):
        ReclmClient()
    with pytest.raises(ValueError, match="http"):
        ReclmClient("localhost:80")
    monkeypatch.setenv("RECLM_URL", server.url + "/behind/a/proxy")
    with ReclmClient() as client:
        client.get_profile("user", "u1")
    assert server.requests[0].path == b"/behind/a/proxy/profiles/user/u1"


def test_a_key_that_cannot_be_shown_is_refused_before_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header"):
        ReclmClient("http://127.0.0.1:1", api_key="two\nlines")
    monkeypatch.setenv("RECLM_API_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="RECLM_API_KEY_FILE"):
        ReclmClient("http://127.0.0.1:1")
    (tmp_path / "none").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        ReclmClient("http://127.0.0.1:1")


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        public = inspect.getmembers(client, inspect.isfunction)
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in public
            if not name.startswith("_") and name not in {"close", "aclose"}
        }

    assert methods(ReclmClient) == methods(AsyncReclmClient)
