"""Results as a notebook shows them, and as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from reclm_client import Embeddings, Item, ProfileRequest, ScoreRequest
from tests.services.client import documents

if TYPE_CHECKING:
    from tests.services.client.server import Reply, Request, Server
    from tests.services.client.steps import Connect

NDJSON = "application/x-ndjson"
PROBLEM = {"code": "nothing-to-read", "detail": "empty", "status": 422}


def lines(*answers: dict[str, object]) -> bytes:
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def test_a_profile_shows_what_it_says_and_not_its_numbers(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.json(documents.profile(embedding=[0.25] * 384))

    server.handler = handler
    assert repr(connect().profile("user", "u1")) == (
        "<user profile 'u1', generated: 'User identity: a, b, c; User interests: x, y, z.', "
        "embedding=<384 numbers>>"
    )


def test_a_score_shows_its_best_items(connect: Connect, server: Server) -> None:
    items = [{"item_id": str(n), "score": 7 - n, "reasons": None} for n in range(7)]

    async def handler(request: Request, reply: Reply) -> None:
        await reply.json(documents.score(request.json().get("user_id"), items=items))

    server.handler = handler
    assert repr(connect().score("u1")) == (
        "<score for 'u1' by s-1, known by history: 0 7, 1 6, 2 5, 3 4, 4 3, 2 more>"
    )
    assert repr(connect().score()).startswith("<score for a new user by s-1")


def test_a_batch_of_profiles_becomes_a_table(connect: Connect, server: Server) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        good = {"row": 0, "id": "u0", "status_code": 200, "profile": documents.profile("u0")}
        bad = {"row": 1, "id": "u1", "status_code": 422, "error": PROBLEM}
        await reply.start(200, NDJSON)
        await reply.send(lines(good, bad))

    server.handler = handler
    rows = connect().profiles("user", [ProfileRequest("u0"), ProfileRequest("u1")])
    table = rows.to_pandas()
    assert table.columns.tolist() == [
        *("row", "id", "status_code", "error"),
        *("status", "identities", "interests", "text", "created_at", "embedding"),
    ]
    assert table["id"].tolist() == ["u0", "u1"]
    assert table["error"].tolist()[1] == "nothing-to-read"
    assert table["interests"].tolist()[0] == ("x", "y", "z")
    assert table["created_at"][0].isoformat() == "2025-01-02T03:04:05+00:00"


def test_a_batch_of_scores_becomes_a_table_with_a_line_for_each_item(
    connect: Connect, server: Server
) -> None:
    items = [
        {"item_id": name, "score": score, "reasons": None} for name, score in (("a", 2), ("b", 1))
    ]

    async def handler(_: Request, reply: Reply) -> None:
        good = {
            "row": 0,
            "id": "u0",
            "status_code": 200,
            "score": documents.score("u0", items=items),
        }
        bad = {"row": 1, "id": "u1", "status_code": 422, "error": PROBLEM}
        await reply.start(200, NDJSON)
        await reply.send(lines(good, bad))

    server.handler = handler
    table = connect().score_batch([ScoreRequest("u0"), ScoreRequest("u1")]).to_pandas()
    assert table["user_id"].tolist() == ["u0", "u0", "u1"]
    assert table["item_id"].tolist()[:2] == ["a", "b"]
    assert table["rank"].tolist()[:2] == [1, 2]
    assert table["rank"].isna().tolist() == [False, False, True]
    assert table["error"].tolist()[2] == "nothing-to-read"


def test_a_table_has_the_rows_that_are_left(connect: Connect, server: Server) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        answers = [
            {"row": row, "id": item["id"], "status_code": 200}
            for row, item in enumerate(request.rows())
        ]
        await reply.start(200, NDJSON)
        await reply.send(lines(*answers))

    server.handler = handler
    rows = connect().put_items([Item(str(n), "T") for n in range(5)])
    assert next(rows).id == "0"
    assert rows.to_pandas()["row"].tolist() == [1, 2, 3, 4]


def test_vectors_become_a_table_by_id() -> None:
    vectors = np.array([[1, 2], [0, 0]], np.float32)
    found = Embeddings(("a", "b"), vectors, np.array([True, False]), ("v", None))
    assert repr(found) == "<embeddings of 2 ids, 1 found, 2 numbers each>"
    table = found.to_pandas()
    assert table.index.tolist() == ["a", "b"]
    assert table.index.name == "id"
    assert table.loc["a"].tolist() == [1, 2]
    assert table.loc["b"].isna().all()
    assert table.dtypes.tolist() == [np.float32, np.float32]
