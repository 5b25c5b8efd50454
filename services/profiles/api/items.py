"""/items: the catalogue that histories refer to."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import StringConstraints

from reclm_client.schemas import adapter
from reclm_client.schemas.batch import ItemLine
from reclm_client.schemas.fields import NO_CONTROLS
from reclm_client.schemas.item import CatalogueItem, Item, ItemBody, ItemPage
from services.profiles.api.batches import NdjsonDocumented, answer_rows
from services.profiles.api.bodies import JSON, NDJSON_BODY, ItemRoute, Json, Ndjson, NdjsonRoute
from services.profiles.api.parts import ServiceParts
from services.profiles.api.paths import PathId
from services.profiles.api.problems import documented
from services.profiles.domain.parsing import parse
from services.profiles.domain.profile import ProfileKey
from services.profiles.errors import ItemNotFound

router = APIRouter(tags=["items"], route_class=ItemRoute)
batches = APIRouter(tags=["items"], route_class=NdjsonRoute)

_Words = Annotated[str, StringConstraints(max_length=256, pattern=NO_CONTROLS)]
# A place in the index is a term and an id, at four bytes a character and four letters for three.
_Cursor = Annotated[str, StringConstraints(max_length=2048)]


@router.get(
    "/items",
    summary="List the catalogue in order of id, or search titles by the beginnings of words",
    response_model=ItemPage,
    responses=documented(422, 503),
)
async def list_items(
    parts: ServiceParts,
    q: Annotated[_Words, Query(description="Words, each of which must begin one.")] = "",
    cursor: Annotated[_Cursor | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Returns a page. It may have 9 MB: FastAPI would check it first, and write it after that."""
    page = await parts.catalogue.list_items(
        parts.settings.tenant, query=q, cursor=cursor, limit=limit
    )
    await parts.turns.take()
    written = adapter(ItemPage).dump_json(ItemPage(page.items, page.cursor))
    return Response(written, media_type=JSON)


@batches.post(
    "/items:batch",
    summary="Add or replace many items: NDJSON in, NDJSON out, in order; of one id the last stays",
    response_class=NdjsonDocumented,
    response_model=ItemLine,
    response_description="A line for each row, in the order of the rows that came.",
    responses=documented(400, 413, 415, 429, 503),
)
async def post_items(
    parts: ServiceParts, lines: Annotated[list[bytes], Ndjson(CatalogueItem), NDJSON_BODY]
) -> Response:
    """Stores rows one by one, many at a time; those with the same id one after another."""
    # Rows begin in their order, and whoever waits for a lock has it in the order of coming.
    turns: dict[str, asyncio.Lock] = {}

    async def answer(line: bytes) -> dict[str, Any]:
        item = parse(line, CatalogueItem)
        async with turns.setdefault(item.id, asyncio.Lock()):
            await parts.catalogue.put_items(parts.settings.tenant, [item])
        return {}

    return answer_rows(
        parts, lines, answer, line=ItemLine, row_bytes=ItemRoute.limit(parts.settings)
    )


@router.put(
    "/items/{id:path}",
    summary="Add or replace an item",
    responses=documented(400, 404, 413, 415, 422, 429, 503),
)
async def put_item(
    parts: ServiceParts,
    id: PathId,  # noqa: A002 - the field's name
    body: Annotated[ItemBody, Json()],
) -> Item:
    """Stores an item under the id in the path. This worker knows of it at once, others soon."""
    item = Item(id, body.title, body.category, body.description, body.hidden, body.expires_at)
    await parts.catalogue.put_items(parts.settings.tenant, [item])
    await parts.changes.read()
    return item


@router.get("/items/{id:path}", summary="Read an item", responses=documented(404, 422, 503))
async def get_item(parts: ServiceParts, id: PathId) -> Item:  # noqa: A002 - the field's name
    """Returns an item."""
    (item,) = await parts.catalogue.get_items(parts.settings.tenant, [id])
    if item is None:
        raise ItemNotFound("the catalogue has no item with this id")
    return item


@router.delete(
    "/items/{id:path}",
    summary="Remove an item and its profile; it is withdrawn until it is added again",
    status_code=204,
    responses=documented(404, 422, 503),
)
async def delete_item(parts: ServiceParts, id: PathId) -> None:  # noqa: A002 - the field's name
    """Removes an item, and its profile, whether or not either is there."""
    tenant = parts.settings.tenant
    await parts.catalogue.delete_item(tenant, id)
    # Withdrawn first: nothing is generated between the two.
    await parts.changes.read()
    await parts.profiles.erase(ProfileKey(tenant, "item", id))
