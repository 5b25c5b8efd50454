"""Bodies read by FastAPI's typed parameters: as strict as the short way, within the same limits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from reclm_client.schemas.item import CatalogueItem
from reclm_client.schemas.profile import ProfileRequest  # noqa: TC001 - FastAPI reads it
from services.profiles.api import problems
from services.profiles.api.bodies import NDJSON_BODY, BodyRoute, Json, Ndjson, NdjsonRoute
from services.profiles.api.in_flight import InFlight
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics
from services.profiles.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

JSON = "application/json"
NDJSON = "application/x-ndjson"

single = APIRouter(route_class=BodyRoute)
batches = APIRouter(route_class=NdjsonRoute)


@single.post("/one")
async def one(body: Annotated[ProfileRequest, Json()]) -> str:
    return repr(body.history)


@batches.post("/many")
async def many(lines: Annotated[list[bytes], Ndjson(CatalogueItem), NDJSON_BODY]) -> int:
    return len(lines)


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.metrics = Metrics()
    app.state.in_flight = InFlight(10_000)
    settings = Settings(max_body_bytes=1024, max_batch_bytes=2048)
    app.state.parts = SimpleNamespace(settings=settings, turns=Turns())
    problems.install(app)
    app.include_router(single)
    app.include_router(batches)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def post(api: httpx.AsyncClient, body: bytes, type_: str = JSON, path: str = "/one") -> Any:
    return await api.post(path, content=body, headers={"Content-Type": type_})


async def test_a_body_is_read_into_its_class(api: httpx.AsyncClient) -> None:
    body = b'{"id": "a", "history": ["7", {"title": "Heat"}, {"id": null, "title": "Alien"}]}'
    answer = await post(api, body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == (
        "['7', Item(id='', title='Heat', category='', description='', hidden=False, "
        "expires_at=None), Item(id='', title='Alien', category='', description='', "
        "hidden=False, expires_at=None)]"
    )


@pytest.mark.parametrize(
    ("body", "status", "where", "why"),
    [
        (b"", 400, None, "the body is not JSON"),
        (b"{", 400, None, "the body is not JSON"),
        (rb'{"id": "\ud800"}', 400, None, "the body is not JSON"),
        (b"null", 422, "body", "object"),
        (b"[]", 422, "body", "object"),
        (b'{"id": 7}', 422, "body.id", "valid string"),
        (b'{"id": "a", "more": 1}', 422, "body.more", "Extra inputs are not permitted"),
        (b'{"id": "a", "refresh": "yes"}', 422, "body.refresh", "valid boolean"),
        (b'{"id": "a", "history": [{"id": ""}]}', 422, "body.history.0.item", "at least 1"),
        (b'{"id": "a", "max_age_s": NaN}', 422, "body.max_age_s", "less than"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said(
    api: httpx.AsyncClient, body: bytes, status: int, where: str | None, why: str
) -> None:
    answer = await post(api, body)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert why in problem["detail"]
    if where is None:
        assert "errors" not in problem
    else:
        assert problem["errors"][0]["where"].startswith(where)


async def test_limits_and_types_are_checked_before_anything_else(api: httpx.AsyncClient) -> None:
    assert (await post(api, b"{}", "text/plain")).status_code == 415
    assert (await post(api, b"{}", NDJSON)).status_code == 415
    assert (await post(api, b"x" * 1025)).status_code == 413
    assert (await post(api, b"x" * 1024)).status_code == 400
    assert (await post(api, b"{}", JSON, "/many")).status_code == 415
    assert (await post(api, b"x" * 2049, NDJSON, "/many")).status_code == 413


async def test_lines_are_counted_without_the_empty_ones(api: httpx.AsyncClient) -> None:
    assert (await post(api, b"{}\n\n [] \n", NDJSON, "/many")).json() == 2
    assert (await post(api, b"", "application/jsonl; charset=utf-8", "/many")).json() == 0


async def test_what_is_documented_is_the_class(api: httpx.AsyncClient) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]
    bodies = {path: paths[path]["post"]["requestBody"]["content"] for path in ("/one", "/many")}
    assert bodies == {
        "/one": {JSON: {"schema": {"$ref": "#/components/schemas/ProfileRequest"}}},
        "/many": {NDJSON: {"schema": {"$ref": "#/components/schemas/CatalogueItem"}}},
    }
