"""Bodies that are refused, alone as in a batch, and what a refusal looks like."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from tests.support.profiles import HEAT

if TYPE_CHECKING:
    import httpx

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
LIMIT = 1024 * 1024
ITEM_LIMIT = 128 * 1024

MALFORMED = [
    b"",
    b"{",
    b"not json",
    b'{"id": "x", "history": [}',
    b'{"id": "x"} {"id": "y"}',
    b'{"id": "\xff\xfe"}',
    b'{"id": "x", "max_age_s": NaN, ',
]

WRONG_SHAPE: list[tuple[Any, str]] = [
    ([], "body"),
    ("x", "body"),
    (None, "body"),
    ({}, "body.id"),
    ({"id": 7}, "body.id"),
    ({"id": None}, "body.id"),
    ({"id": ""}, "body.id"),
    ({"id": "y" * 257}, "body.id"),
    ({"id": "y" * 10_000}, "body.id"),
    ({"id": "a\0b"}, "body.id"),
    ({"id": "a\nb"}, "body.id"),
    ({"id": "a\x9fb"}, "body.id"),
    ({"id": "x", "history": "a"}, "body.history"),
    ({"id": "x", "history": [7]}, "body.history.0"),
    ({"id": "x", "history": ["a", ""]}, "body.history.1"),
    ({"id": "x", "history": ["a\0"]}, "body.history.0"),
    ({"id": "x", "history": [{"category": "Drama"}]}, "body.history.0"),
    ({"id": "x", "history": [{"title": ""}]}, "body.history.0"),
    ({"id": "x", "history": [{"title": "a\0b"}]}, "body.history.0"),
    ({"id": "x", "history": [{"title": "a\x1bb"}]}, "body.history.0"),
    ({"id": "x", "history": [{"title": "a", "category": "\x07"}]}, "body.history.0"),
    ({"id": "x", "history": [{"title": "a", "description": "\0"}]}, "body.history.0"),
    ({"id": "x", "history": [{"title": "a", "year": 1995}]}, "body.history.0"),
    ({"id": "x", "history": [HEAT], "refresh": "yes"}, "body.refresh"),
    ({"id": "x", "history": [HEAT], "deadline_ms": 0}, "body.deadline_ms"),
    ({"id": "x", "history": [HEAT], "deadline_ms": 1.5}, "body.deadline_ms"),
    ({"id": "x", "history": [HEAT], "max_age_s": -1}, "body.max_age_s"),
    ({"id": "x", "history": [HEAT], "max_age_s": math.nan}, "body.max_age_s"),
    ({"id": "x", "history": [HEAT], "max_age_s": math.inf}, "body.max_age_s"),
    ({"id": "x", "history": [HEAT], "limit": 3}, "body.limit"),
    ({"id": "x", "history": [{"title": "t" * 513}]}, "body.history.0"),
]


def assert_problem(response: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:reclm:problem:{code}"
    assert problem["request_id"] == response.headers["X-Request-Id"]
    for word in words:
        assert word in problem["detail"]
    return problem


def post(api: httpx.Client, body: Any, kind: str = "user") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.post(f"/profiles/{kind}", content=content, headers=JSON)
