"""A bad row of a batch costs only itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bad_input.bad import (
    ITEM_LIMIT,
    JSON,
    LIMIT,
    MALFORMED,
    NDJSON,
    WRONG_SHAPE,
    assert_problem,
)
from tests.support.profiles import HEAT

if TYPE_CHECKING:
    import httpx

pytestmark = [pytest.mark.stack, pytest.mark.model]


@pytest.mark.usefixtures("costs_nothing")
@pytest.mark.parametrize("path", ["/profiles/user:batch", "/items:batch"])
def test_a_batch_of_another_content_type(api: httpx.Client, path: str) -> None:
    response = api.post(path, content=b'{"id": "x"}', headers=JSON)
    assert_problem(response, 415, "unsupported-media-type", "application/x-ndjson")


@pytest.mark.usefixtures("costs_nothing")
def test_each_bad_row_of_a_batch_is_refused_in_its_place(api: httpx.Client) -> None:
    rows = [*MALFORMED[1:], *(json.dumps(body).encode() for body, _ in WRONG_SHAPE)]
    rows.append(rb'{"id": "a\ud800"}')
    content = b"\n".join(rows)
    response = api.post("/profiles/user:batch", content=content, headers=NDJSON)
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["row"] for answer in answers] == list(range(len(rows)))
    assert {answer["status_code"] for answer in answers} == {400, 422}
    assert all(answer["error"]["detail"] and answer["error"]["code"] for answer in answers)


@pytest.mark.usefixtures("costs_nothing")
@pytest.mark.parametrize("path", ["/profiles/user:batch", "/profiles/item:batch", "/items:batch"])
def test_a_row_over_the_limit_of_a_body_costs_only_itself(api: httpx.Client, path: str) -> None:
    row = b'{"id": "bad big", "history": [' + b",".join([b"7"] * LIMIT) + b"]}"
    content = b'{"id": ""}\n' + row + b'\n{"id": 7}'
    response = api.post(path, content=content, headers=NDJSON)
    before, big, after = (json.loads(line) for line in response.text.splitlines())
    assert (before["status_code"], big["status_code"], after["status_code"]) == (422, 413, 422)
    assert (big["id"], big["error"]["code"]) == (None, "body-too-large")
    assert str(ITEM_LIMIT if path == "/items:batch" else LIMIT) in big["error"]["detail"]


@pytest.mark.usefixtures("costs_nothing")
@pytest.mark.parametrize("path", ["/profiles/user:batch", "/profiles/item:batch", "/items:batch"])
def test_a_batch_of_too_many_rows(api: httpx.Client, path: str) -> None:
    response = api.post(path, content=b"{}\n" * 10_001, headers=NDJSON)
    assert_problem(response, 413, "body-too-large", "10001 rows", "at most 10000")


def test_bad_items_leave_their_neighbours_in_the_catalogue(api: httpx.Client) -> None:
    rows = [
        b'{"id": "bad 1", "title": "One"}',
        b'{"id": "bad 2", "title": "' + b"t" * 100_000 + b'"}',
        b'{"id": "bad 3"}',
        b'{"id": "bad\\u00004", "title": "Four"}',
        b"\xff\xfe",
        b'{"id": "bad 6", "title": "Six", "category": 7}',
        b'{"id": "bad 7", "title": "Seven"}',
    ]
    response = api.post("/items:batch", content=b"\n".join(rows), headers=NDJSON)
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["status_code"] for answer in answers] == [200, 422, 422, 422, 400, 422, 200]
    assert [api.get(f"/items/bad {n}").status_code for n in (1, 2, 3, 6, 7)] == [
        *(200, 404, 404, 404, 200),
    ]


@pytest.mark.usefixtures("costs_nothing")
def test_bad_rows_leave_their_neighbours_their_profiles(source: str, api: httpx.Client) -> None:
    good = json.dumps({"id": source, "history": [HEAT]}).encode()
    bad = [*MALFORMED[1:], rb'{"id": "a\ud800"}', b'{"id": "bad stranger", "history": ["nowhere"]}']
    content = b"\n".join(row for pair in zip(bad, [good] * len(bad), strict=True) for row in pair)
    response = api.post("/profiles/user:batch", content=content, headers=NDJSON)
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["row"] for answer in answers] == list(range(2 * len(bad)))
    assert {answer["status_code"] for answer in answers[::2]} == {400, 422}
    assert {(row["status_code"], row["profile"]["id"]) for row in answers[1::2]} == {(200, source)}
