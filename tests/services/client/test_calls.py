"""Single calls of both clients, against a real server."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest

from reclm_client import (
    AsyncReclmClient,
    Component,
    Copy,
    Dependency,
    Erasures,
    Event,
    Item,
    Profile,
    ProfileVersion,
    Readiness,
    ReclmClient,
    Unavailable,
)
from tests.services.client import documents
from tests.services.client.steps import Connect, cut, good, refuse, script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.client.server import Reply, Request, Server


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


def test_what_withdraws_an_item_is_sent_and_read(connect: Connect, server: Server) -> None:
    document = {
        "id": "7",
        "title": "Heat",
        "category": "",
        "description": "",
        "hidden": True,
        "expires_at": "2030-01-01T00:00:00.000Z",
    }

    async def handler(_: Request, reply: Reply) -> None:
        await reply.json(document)

    server.handler = handler
    heat = Item("7", "Heat", hidden=True, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert connect().put_item(heat) == heat
    sent = {"title": "Heat", "hidden": True, "expires_at": 1893456000000}
    assert server.requests[0].json() == sent


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
        rows = [{"user_id": "a/b", "item_id": "7", "timestamp": "2026-01-02T03:04:05.678Z"}]
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


def test_the_deny_list_is_read_page_by_page(connect: Connect, server: Server) -> None:
    at = "2026-11-30T12:00:00.005Z"

    async def first(_: Request, reply: Reply) -> None:
        erasures = [{"user_id": "a b", "erased_at": at}, {"user_id": "c", "erased_at": at}]
        await reply.json({"as_of": at, "erasures": erasures, "cursor": "7"})

    async def second(_: Request, reply: Reply) -> None:
        later = "2026-11-30T12:00:01Z"
        erasures = [{"user_id": "c", "erased_at": later}]
        await reply.json({"as_of": later, "erasures": erasures, "cursor": None})

    server.handler = script(first, second)
    found = connect().erasures(page_size=2)
    early = datetime(2026, 11, 30, 12, 0, 0, 5_000, UTC)
    later = datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC)
    assert found == Erasures(early, {"a b": early, "c": later})
    assert [(request.path, request.query) for request in server.requests] == [
        (b"/admin/erasures", b"limit=2"),
        (b"/admin/erasures", b"limit=2&cursor=7"),
    ]


def test_copies_are_read(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.json({"copies": [{"where": "w", "until": "u", "ended_by": None}]})

    server.handler = handler
    assert connect().copies() == (Copy("w", "u", None),)
    assert server.requests[0].path == b"/admin/erasures/copies"
