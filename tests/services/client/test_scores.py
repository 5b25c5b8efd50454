"""Scores and scorers through both clients, and the commands that stand on them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reclm_client import (
    ActiveScorer,
    Interest,
    InvalidRequest,
    Item,
    MalformedAnswer,
    NotFound,
    PastItem,
    Reasons,
    ScoredItem,
    ScoreRequest,
    Timeouts,
    Unavailable,
)
from services import cli
from tests.services.client import documents

if TYPE_CHECKING:
    from tests.services.client.server import Handler, Reply, Request, Server
    from tests.services.client.steps import Connect

NDJSON = "application/x-ndjson"
SCORER = {
    "name": "s-1",
    "active": True,
    "previous": False,
    "loaded": True,
    "refused": None,
    "kind": "factors",
    "model": "lightgcn",
    "created_at": "2026-01-01T00:00:00Z",
    "n_items": 1682,
    "n_users": 943,
    "metrics": {"recall@20": 0.2},
}
BROKEN = {
    **dict.fromkeys(SCORER),
    "name": "s-0",
    "active": False,
    "previous": True,
    "loaded": False,
    "refused": "items.parquet is gone",
}


def always(document: Any) -> Handler:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.json(document)

    return handler


def test_a_score_sends_what_is_given(connect: Connect, server: Server) -> None:
    server.handler = always(documents.score())
    connect().score()
    connect().score(
        "u1",
        history=["7", Item("", "Heat (1995)")],
        candidates=["1", "2"],
        exclude=["2"],
        k=5,
        deadline_ms=200,
        reasons=False,
    )
    assert {request.path for request in server.requests} == {b"/score"}
    assert server.requests[0].json() == {"k": 20, "reasons": True}
    assert server.requests[1].json() == {
        "user_id": "u1",
        "history": ["7", {"title": "Heat (1995)"}],
        "candidates": ["1", "2"],
        "exclude": ["2"],
        "k": 5,
        "deadline_ms": 200,
        "reasons": False,
    }


def test_a_score_is_read_with_every_member(connect: Connect, server: Server) -> None:
    server.handler = always(documents.score())
    score = connect().score("u1")
    assert (score.scorer, score.user_id, score.known_by) == ("s-1", "u1", "history")
    assert score.profile.interests == ("x", "y", "z")
    assert score.ignored == ("9",)
    reasons = Reasons((PastItem("7", 0.5),), (Interest("x", 1.0),))
    assert score.items == (ScoredItem("3", 2.0, reasons),)


def test_what_may_be_missing_is_none(connect: Connect, server: Server) -> None:
    items = [
        {"item_id": "3", "score": 2, "reasons": {"history": [], "interests": None}},
        {"item_id": "4", "score": 1, "reasons": None},
    ]
    server.handler = always(
        documents.score(None, profile=None, known_by="nothing", ignored=[], items=items)
    )
    score = connect().score()
    assert (score.user_id, score.profile) == (None, None)
    assert score.items == (
        ScoredItem("3", 2.0, Reasons((), None)),
        ScoredItem("4", 1.0, None),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"known_by": "heart"},
        {"items": [{"item_id": "3", "score": "2", "reasons": None}]},
        {"items": [{"item_id": 3, "score": 2, "reasons": None}]},
        {"scorer": None},
        {"ignored": [1]},
    ],
)
def test_another_answer_is_malformed(
    connect: Connect, server: Server, changes: dict[str, Any]
) -> None:
    server.handler = always(documents.score(**changes))
    with pytest.raises(MalformedAnswer):
        connect().score("u1")


def test_a_string_is_no_list_of_ids(connect: Connect, server: Server) -> None:
    for wrong in ({"history": "7"}, {"candidates": "7"}, {"exclude": "7"}):
        with pytest.raises(TypeError, match="is a string"):
            connect().score("u1", **wrong)
    assert server.requests == []


def test_a_deadline_after_which_nobody_listens_is_refused(connect: Connect) -> None:
    client = connect(timeouts=Timeouts(read=1, total=2))
    with pytest.raises(ValueError, match="deadline_ms"):
        client.score("u1", deadline_ms=1000)
    with pytest.raises(ValueError, match="deadline_ms"):
        list(client.score_batch([ScoreRequest("u1", deadline_ms=1000)]))


def test_a_batch_of_scores_has_a_result_for_each_row(connect: Connect, server: Server) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        assert [row.get("user_id") for row in request.rows()] == ["u0", None, "u2"]
        error = {"code": "invalid-input", "detail": "k", "status": 422}
        lines = [
            {"row": 0, "id": "u0", "status_code": 200, "score": documents.score("u0")},
            {"row": 1, "id": None, "status_code": 200, "score": documents.score(None)},
            {"row": 2, "id": "u2", "status_code": 422, "error": error},
        ]
        await reply.start(200, NDJSON)
        await reply.send(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    server.handler = handler
    rows = list(connect().score_batch([ScoreRequest("u0"), ScoreRequest(), ScoreRequest("u2")]))
    assert {request.path for request in server.requests} == {b"/score:batch"}
    assert [(row.row, row.user_id, row.status_code) for row in rows] == [
        (0, "u0", 200),
        (1, None, 200),
        (2, "u2", 422),
    ]
    assert rows[0].score.items[0].item_id == "3"
    assert isinstance(rows[2].error, InvalidRequest)


def test_scorers_are_listed_activated_and_rolled_back(connect: Connect, server: Server) -> None:
    server.handler = always({"active": "s-1", "previous": None, "scorers": [SCORER, BROKEN]})
    good, broken = connect().scorers()
    assert (good.name, good.active, good.n_items) == ("s-1", True, 1682)
    assert good.metrics == {"recall@20": 0.2}
    assert (broken.refused, broken.kind, broken.metrics) == ("items.parquet is gone", None, None)
    assert connect().activate_scorer("a/b") == ActiveScorer("s-1", None)
    assert connect().roll_back_scorer() == ActiveScorer("s-1", None)
    assert [(request.method, request.path) for request in server.requests] == [
        ("GET", b"/admin/scorers"),
        ("POST", b"/admin/scorers/a%2Fb/activate"),
        ("POST", b"/admin/scorers/rollback"),
    ]


def test_a_rollback_is_never_sent_again_since_a_second_one_undoes_the_first(
    connect: Connect, server: Server
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.problem(503, "store-unavailable")

    server.handler = handler
    with pytest.raises(Unavailable):
        connect().roll_back_scorer()
    assert len(server.requests) == 1


def test_a_scorer_that_is_not_there_is_not_found(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.problem(404, "scorer-not-found")

    server.handler = handler
    with pytest.raises(NotFound):
        connect().activate_scorer("gone")


def test_the_commands_say_what_is_active_and_what_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.handler = always({"active": "s-1", "previous": "s-0", "scorers": [BROKEN, SCORER]})
    assert cli.main(["scorers", "--url", server.url, "list"]) == 0
    _, broken, good = capsys.readouterr().out.splitlines()
    assert broken.split() == ["before", "s-0", "refused:", "items.parquet", "is", "gone"]
    assert good.split()[:5] == ["active", "s-1", "lightgcn", "1,682", "943"]
    for command in (["activate", "s-1"], ["rollback"]):
        assert cli.main(["scorers", "--url", server.url, *command]) == 0
        assert capsys.readouterr().out == "active: s-1, before: s-0\n"


def test_the_commands_show_contents_and_which_of_them_do_not_answer(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = "1" * 32, "2" * 32
    row = {**SCORER, "active": False, "content": mine, "conflict": f"{theirs} is wanted"}
    active = {"active": "s-1", "active_content": theirs, "previous": "s-1"}
    server.handler = always({**active, "previous_content": mine, "scorers": [row]})
    assert cli.main(["scorers", "--url", server.url, "list"]) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["s-1", "1" * 12, "lightgcn"]
    assert line.endswith(f"does not answer: {theirs} is wanted")
    assert cli.main(["scorers", "--url", server.url, "activate", "s-1"]) == 0
    expected = f"active: s-1 ({'2' * 12}), before: s-1 ({'1' * 12})\n"
    assert capsys.readouterr().out == expected


def test_a_command_that_is_refused_says_why_and_fails(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.problem(409, "mismatched-bundle")

    server.handler = handler
    monkeypatch.setenv("RECLM_URL", server.url)
    assert cli.main(["scorers", "activate", "s-1"]) == 1
    assert "because" in capsys.readouterr().err
    assert cli.main(["scorers", "--url", "ftp://x", "list"]) == 2
