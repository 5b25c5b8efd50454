"""Bodies within the limit of bytes that cost seconds, and many bodies at once."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import StreamingResponse

from reclm_client.schemas.batch import ProfileLine
from reclm_client.schemas.embedding import EmbeddingsRequest
from reclm_client.schemas.event import EventsRequest
from reclm_client.schemas.profile import ProfileRequest, UserProfileRequest
from reclm_client.schemas.score import ScoreRequest
from services.profiles.api import problems
from services.profiles.api.batches import answer_rows
from services.profiles.api.bodies import (
    NDJSON_BODY,
    BodyRoute,
    IdsRoute,
    ItemRoute,
    Json,
    Ndjson,
    NdjsonRoute,
)
from services.profiles.api.in_flight import InFlight
from services.profiles.api.middleware import Observe
from services.profiles.api.shape import check_json
from services.profiles.domain.parsing import parse
from services.profiles.errors import BodyTooLarge, InvalidInput, Overloaded
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics
from services.profiles.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
NDJSON = {"Content-Type": "application/x-ndjson"}


def filled(unit: bytes, before: bytes, after: bytes, size: int = MIB) -> bytes:
    """Returns a list of as many units as fit."""
    count = (size - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * count) + after


HOSTILE = {
    "objects": filled(b'{"":0}', b'{"ids":["a"],"x":[', b"]}"),
    "arrays": filled(b"[]", b'{"ids":["a"],"x":[', b"]}"),
    "nested arrays": filled(b"[[[[[[[[]]]]]]]]", b'{"ids":["a"],"x":[', b"]}"),
    "members": filled(b'"":0', b'{"ids":["a"],', b"}"),
    "members with white space": filled(b'""  :0', b'{"ids":["a"],', b"}"),
    "strings": filled(b'""', b'{"ids":["a"],"x":[', b"]}"),
    "numbers": filled(b"7", b'{"ids":[', b"]}"),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_would_take_long_to_read_is_refused_unread(body: bytes) -> None:
    """A megabyte of these took 40 ms to 1.5 s, in which nobody else was answered."""
    json.loads(body)
    with pytest.raises(BodyTooLarge, match=r"more than [0-9]+ .*smaller parts"):
        check_json(body)


def title(number: int) -> str:
    return f'Movie {number}: "The [Re]birth" {{uncut}}, part {number % 7}'


LARGEST: dict[str, tuple[Any, type[Any]]] = {
    "embeddings": ({"ids": [f"urn:shop:user:{number}:eu" for number in range(10_000)]}, EmbeddingsRequest),
    "guids": ({"ids": [f"{{{number:032x}}}" for number in range(10_000)]}, EmbeddingsRequest),
    "score": (
        {
            "user_id": "a",
            "history": [{"title": title(number), "id": f"b:{number}"} for number in range(1000)],
            "candidates": [f"item:{number}" for number in range(10_000)],
            "exclude": [f"item:{number}" for number in range(10_000)],
        },
        ScoreRequest,
    ),
    "profile": (
        {
            "id": "a",
            "history": [
                {
                    "id": f"item:{number}",
                    "title": title(number),
                    "category": "Books, Science Fiction, Space Opera",
                    "description": "Read [more](https://example.org/?a=1): " * 12,
                }
                for number in range(1000)
            ],
        },
        ProfileRequest,
    ),
    "events": (
        {
            "events": [
                {"user_id": f"user:{number}", "item_id": "b:1", "timestamp": "2026-11-30T10:00:00Z"}
                for number in range(1000)
            ]
        },
        EventsRequest,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "schema"), LARGEST.values(), ids=LARGEST)
def test_the_largest_requests_that_make_sense_are_read(body: Any, schema: type[Any]) -> None:
    written = json.dumps(body).encode()
    assert len(written) < MIB
    check_json(written)
    parse(written, schema)


def test_a_hundred_thousand_unknown_members_are_counted_and_not_described() -> None:
    """To describe each took 5 us, half a second for a megabyte."""
    body = filled(b'"":0', b'{"ids":["a"],', b"}", size=16 * 1024)
    with pytest.raises(InvalidInput, match=r"[0-9]{4} members are unknown or wrong") as refused:
        parse(body, EmbeddingsRequest)
    assert "errors" not in refused.value.data


@pytest.mark.parametrize(
    ("member", "schema"),
    [
        ("ids", EmbeddingsRequest),
        ("candidates", ScoreRequest),
        ("exclude", ScoreRequest),
        ("history", UserProfileRequest),
    ],
)
def test_of_a_list_of_wrong_entries_one_is_described(member: str, schema: type[Any]) -> None:
    body = {member: [7] * 50} | ({"id": "a"} if schema is UserProfileRequest else {})
    with pytest.raises(InvalidInput) as refused:
        parse(json.dumps(body).encode(), schema)
    (finding,) = refused.value.data["errors"]  # type: ignore[misc]
    assert finding["where"].startswith(f"body.{member}.0")


# ---- Bytes in flight


def test_what_requests_hold_is_limited_and_given_back() -> None:
    in_flight = InFlight(100, small=0)
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    in_flight.hold(first, 60)
    in_flight.hold(second, 30)
    with pytest.raises(Overloaded, match=r"hold 90 bytes.*needs 20 more of at most 100"):
        in_flight.hold(second, 20)
    in_flight.hold(first, 10)
    in_flight.release(first)
    in_flight.release(first)
    assert in_flight.held == 30
    in_flight.release(second)
    assert in_flight.held == 0


class Service:
    """Endpoints that wait behind the real layers."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()
        self.in_flight = InFlight(3000, small=1000)
        app = FastAPI()
        app.state.metrics = Metrics()
        app.state.in_flight = self.in_flight
        self.settings = Settings(
            max_body_bytes=2000, max_item_bytes=50, max_ids_bytes=100, max_batch_rows=3
        )
        app.state.parts = SimpleNamespace(settings=self.settings, turns=Turns())
        problems.install(app)
        for route in (BodyRoute, ItemRoute, IdsRoute):
            router = APIRouter(route_class=route)
            router.add_api_route(f"/{route.__name__}", self._endpoint(), methods=["POST"])
            app.include_router(router)
        batches = APIRouter(route_class=NdjsonRoute)
        batches.add_api_route("/lines", self._lines(), methods=["POST"])
        app.include_router(batches)
        self.app = Observe(
            app, metrics=app.state.metrics, in_flight=self.in_flight, access_log=False
        )

    def _endpoint(self) -> Callable[..., Any]:
        async def endpoint(body: Annotated[UserProfileRequest, Json()]) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                self.waiting.set()
                await self.go_on.wait()
                yield body.id.encode()

            return StreamingResponse(pieces())

        return endpoint

    def _lines(self) -> Callable[..., Any]:
        async def lines(
            lines: Annotated[list[bytes], Ndjson(UserProfileRequest), NDJSON_BODY],
        ) -> list[str]:
            return [line.decode() for line in lines]

        return lines


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def api(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(service.app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


def post(
    api: httpx.AsyncClient,
    size: int,
    path: str = "/BodyRoute",
    *,
    chunked: bool = False,
    **headers: str,
) -> Any:
    body = b'{"id":"a"}'.ljust(size)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 100):
            yield body[start : start + 100]

    content: Any = pieces() if chunked else body
    return api.post(path, content=content, headers={"Content-Type": "application/json", **headers})


async def test_bodies_over_the_limit_together_are_put_off(
    service: Service, api: httpx.AsyncClient
) -> None:
    first = asyncio.create_task(post(api, 1800))
    await service.waiting.wait()
    assert service.in_flight.held == 1800
    late = await post(api, 1800)
    assert (late.status_code, late.json()["code"]) == (429, "overloaded")
    assert late.headers["retry-after"] == "1"
    assert service.in_flight.held == 1800
    # In pieces and without a length, it is refused where it does not fit any more.
    late = await post(api, 1800, chunked=True)
    assert (late.status_code, late.json()["code"]) == (429, "overloaded")
    # A small one is let through, whatever others hold.
    small = [asyncio.create_task(post(api, 900)) for _ in range(3)]
    while service.in_flight.held < 1800 + 3 * 900:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0)
    service.go_on.set()
    assert [(await one).status_code for one in small] == [200] * 3
    assert (await first).text == "a"
    assert service.in_flight.held == 0
    assert (await post(api, 1800)).status_code == 200
    assert (await post(api, 2001)).status_code == 413
    assert service.in_flight.held == 0


async def test_each_call_has_a_limit_that_fits_it(service: Service, api: httpx.AsyncClient) -> None:
    service.go_on.set()
    for path, most in (("/BodyRoute", 2000), ("/ItemRoute", 50), ("/IdsRoute", 100)):
        assert (await post(api, most, path)).status_code == 200
        over = await post(api, most + 1, path)
        assert (over.status_code, over.json()["code"]) == (413, "body-too-large")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_compressed_body_is_refused_as_such(api: httpx.AsyncClient, coding: str) -> None:
    answer = await post(api, 20, **{"Content-Encoding": coding})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")
    assert "Content-Encoding" in answer.json()["detail"]


async def test_a_body_that_says_it_is_not_compressed_is_read(
    service: Service, api: httpx.AsyncClient
) -> None:
    service.go_on.set()
    assert (await post(api, 20, **{"Content-Encoding": "identity"})).status_code == 200


async def test_lines_without_anything_on_them_are_limited_too(api: httpx.AsyncClient) -> None:
    """64 MiB of line breaks made a list of 67 million."""
    few = await api.post("/lines", content=b"{}\n\n \n{}\n\n\n", headers=NDJSON)
    assert (few.status_code, few.json()) == (200, ["{}", "{}"])
    many = await api.post("/lines", content=b"\n" * 7, headers=NDJSON)
    assert (many.status_code, many.json()["code"]) == (413, "body-too-large")


@pytest.mark.parametrize("piece", range(1, 12))
async def test_lines_are_whole_however_they_come(api: httpx.AsyncClient, piece: int) -> None:
    body = b'{"id": "a"}\n\n  \n{"id": "bcd"}\r\n{}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    answer = await api.post("/lines", content=pieces(), headers=NDJSON)
    assert answer.json() == ['{"id": "a"}', '{"id": "bcd"}\r', "{}"]


# ---- Turns


class Passes:
    """Counts the passes of the event loop."""

    def __init__(self) -> None:
        self.now = 0
        self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            self.now += 1
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._counting.cancel()


async def test_of_long_pieces_of_work_one_is_done_in_a_pass() -> None:
    turns, passes = Turns(slice_s=0.0), Passes()
    worked: list[int] = []

    async def work() -> None:
        await turns.take()
        worked.append(passes.now)

    await asyncio.gather(*(work() for _ in range(20)))
    passes.stop()
    assert len(worked) == len(set(worked)) == 20


async def test_short_pieces_of_work_are_done_together() -> None:
    turns, passes = Turns(slice_s=3600), Passes()
    worked: list[int] = []

    async def work() -> None:
        await turns.take()
        worked.append(passes.now)

    await asyncio.gather(*(work() for _ in range(20)))
    passes.stop()
    assert len(worked) == 20
    assert len(set(worked)) == 1


def batch_parts(turns: Turns | None = None) -> Any:
    metrics = SimpleNamespace(errors=Metrics().errors)
    return SimpleNamespace(settings=Settings(), turns=turns or Turns(), metrics=metrics)


async def test_rows_of_a_batch_take_turns() -> None:
    """A hundred rows of a megabyte were read one after another, before anything else."""
    passes = Passes()
    read: list[int] = []

    async def answer(line: bytes) -> dict[str, Any]:
        read.append(passes.now)
        return {}

    rows = [b'{"id":"%d"}' % number for number in range(20)]
    parts = batch_parts(Turns(slice_s=0.0))
    response = answer_rows(parts, rows, answer, line=ProfileLine)
    lines = [json.loads(line) async for line in response.body_iterator]
    passes.stop()
    assert [line["id"] for line in lines] == [str(number) for number in range(20)]
    assert len(read) == len(set(read)) == 20


async def test_a_row_that_would_take_long_to_read_is_refused_in_its_place() -> None:
    async def answer(line: bytes) -> dict[str, Any]:
        assert line == b'{"id":"b"}'
        return {}

    rows = [HOSTILE["objects"], b'{"id":"b"}']
    response = answer_rows(batch_parts(), rows, answer, line=ProfileLine)
    lines = [json.loads(line) async for line in response.body_iterator]
    assert [(line["status_code"], line["id"]) for line in lines] == [(413, None), (200, "b")]
