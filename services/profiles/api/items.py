"""/items: the catalogue that histories refer to."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints
from pydantic_core import to_json

from services.profiles.api.batches import stream_rows
from services.profiles.api.bodies import NDJSON, openapi_body, parse, read_json, read_lines
from services.profiles.api.documents import ItemDocument, ItemPageDocument
from services.profiles.api.paths import PathId
from services.profiles.api.problems import documented
from services.profiles.api.schemas import NO_CONTROLS, CatalogueItem, ItemText
from services.profiles.api.state import parts_of
from services.profiles.errors import ItemNotFound

if TYPE_CHECKING:
    from services.profiles.api.state import Parts
    from services.profiles.domain.profile import Item

router = APIRouter(tags=["items"])

_Words = Annotated[str, StringConstraints(max_length=256, pattern=NO_CONTROLS)]
# A place in the index is a term and an id, at four bytes a character and four letters for three.
_Cursor = Annotated[str, StringConstraints(max_length=2048)]


@router.get(
    "/items",
    summary="List the catalogue in order of id, or search titles by the beginnings of words",
    response_class=Response,
    responses={200: {"model": ItemPageDocument}, **documented(422, 503)},
)
async def list_items(
    request: Request,
    q: Annotated[_Words, Query(description="Words, each of which must begin one.")] = "",
    cursor: Annotated[_Cursor | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Returns a page."""
    parts = parts_of(request)
    page = await parts.catalogue.list_items(
        parts.settings.tenant, query=q, cursor=cursor, limit=limit
    )
    body = {"items": [asdict(item) for item in page.items], "cursor": page.cursor}
    return Response(to_json(body), media_type="application/json")


@router.post(
    "/items:batch",
    summary="Add or replace many items: NDJSON in, NDJSON out, in order; of one id the last stays",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A RowDocument a line, in the order of the rows that came.",
            "content": {NDJSON[0]: {"schema": {"type": "string"}}},
        },
        **documented(400, 413, 415, 503),
    },
    openapi_extra=openapi_body(NDJSON[0], CatalogueItem),
)
async def post_items(request: Request) -> Response:
    """Stores rows one by one, many at a time; those with the same id one after another."""
    parts = parts_of(request)
    lines = await read_lines(
        request, limit=parts.settings.max_batch_bytes, most=parts.settings.max_batch_rows
    )

    # Rows begin in their order, and whoever waits for a lock has it in the order of coming.
    turns: dict[str, asyncio.Lock] = {}

    async def answer(line: bytes) -> bytes:
        body = parse(line, CatalogueItem)
        async with turns.setdefault(body.id, asyncio.Lock()):
            await parts.catalogue.put_items(parts.settings.tenant, [body.to_item(body.id)])
        return b""

    answers = stream_rows(lines, answer, parts.metrics, limit=parts.settings.max_body_bytes)
    return StreamingResponse(answers, media_type=NDJSON[0])


@router.put(
    "/items/{id:path}",
    summary="Add or replace an item",
    response_class=Response,
    responses={200: {"model": ItemDocument}, **documented(400, 404, 413, 415, 422, 503)},
    openapi_extra=openapi_body("application/json", ItemText),
)
async def put_item(request: Request, id: PathId) -> Response:  # noqa: A002 - the field's name
    """Stores an item under the id in the path."""
    parts = parts_of(request)
    body = await read_json(request, ItemText, limit=parts.settings.max_body_bytes)
    item = body.to_item(id)
    await parts.catalogue.put_items(parts.settings.tenant, [item])
    return _document(item)


@router.get(
    "/items/{id:path}",
    summary="Read an item",
    response_class=Response,
    responses={200: {"model": ItemDocument}, **documented(404, 422, 503)},
)
async def get_item(request: Request, id: PathId) -> Response:  # noqa: A002 - the field's name
    """Returns an item."""
    return _document(await _item(parts_of(request), id))


@router.delete(
    "/items/{id:path}",
    summary="Remove an item",
    status_code=204,
    responses=documented(404, 422, 503),
)
async def delete_item(request: Request, id: PathId) -> None:  # noqa: A002 - the field's name
    """Removes an item, if it is there."""
    parts = parts_of(request)
    await parts.catalogue.delete_item(parts.settings.tenant, id)


async def _item(parts: Parts, id_: str) -> Item:
    (item,) = await parts.catalogue.get_items(parts.settings.tenant, [id_])
    if item is None:
        raise ItemNotFound("the catalogue has no item with this id")
    return item


def _document(item: Item) -> Response:
    return Response(to_json(asdict(item)), media_type="application/json")
