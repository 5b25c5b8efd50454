"""What the job takes from the service's answers besides the profiles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from services.backfill.http_maker import HttpMaker
from services.backfill.makers import PushedBack, RowFailed
from tests.services.backfill.made import row
from tests.services.client.documents import profile
from tests.services.client.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.client.server import Reply, Request, Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.mark.parametrize(
    ("told", "wait_s"), [("0.750", 0.75), ("0.000", 0.0), (None, 0.0), ("soon", 0.0), ("-3", 0.0)]
)
async def test_what_the_service_says_of_others_is_passed_on(
    server: Server, told: str | None, wait_s: float
) -> None:
    async def answer(_: Request, reply: Reply) -> None:
        headers = {} if told is None else {"RECLM_Online_Wait": told}
        await reply.start(200, "application/json", **headers)
        await reply.send(json.dumps(profile("u1", embedding=[0.5, 0.5])).encode())

    server.handler = answer
    async with HttpMaker(url=server.url, kind="user") as maker:
        await maker.make(row("u1"), max_age_s=None)
        assert maker.online_wait_s == wait_s


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (502, "model-refused", RowFailed),
        (502, "encoder-refused", RowFailed),
        (502, "malformed-generation", RowFailed),
        (503, "model-unavailable", PushedBack),
        (429, "overloaded", PushedBack),
    ],
)
async def test_what_would_be_refused_again_is_a_failure_of_the_row(
    server: Server, status: int, code: str, expected: type[Exception]
) -> None:
    async def answer(_: Request, reply: Reply) -> None:
        await reply.problem(status, code)

    server.handler = answer
    async with HttpMaker(url=server.url, kind="user") as maker:
        with pytest.raises(expected):
            await maker.make(row("u1"), max_age_s=None)
