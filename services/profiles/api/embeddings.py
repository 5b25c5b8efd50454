"""/embeddings: the vectors of many profiles, as JSON or as an Arrow IPC stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Request, Response

from reclm_client.schemas.embedding import EmbeddingRows, EmbeddingsRequest
from services.profiles.api import arrow
from services.profiles.api.bodies import IdsRoute, Json
from services.profiles.api.parts import ServiceParts
from services.profiles.api.problems import documented
from services.profiles.domain.profile import ProfileKey

if TYPE_CHECKING:
    from reclm_client.schemas.profile import Kind
    from services.profiles.api.in_flight import InFlight
    from services.profiles.stores.codec import Stored

_SLICE = 500
"""Profiles that are read at a time: one reply of the store is 0.7 MB."""

_HELD_A_ROW = 6144
"""Bytes that a profile takes while it is answered: as stored, as a vector, and twice as Arrow."""


def of_kind(kind: Kind) -> APIRouter:
    """Returns the call for one kind of profile."""
    router = APIRouter(tags=[f"{kind} profiles"], route_class=IdsRoute)

    @router.post(
        f"/embeddings/{kind}",
        summary="Read the embeddings of many profiles, as JSON or as an Arrow IPC stream",
        response_model=EmbeddingRows,
        response_description="By `Accept`.",
        responses={
            200: {
                "content": {arrow.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
            },
            **documented(400, 406, 413, 415, 422, 429, 503),
        },
    )
    async def post_embeddings(
        request: Request,
        parts: ServiceParts,
        body: Annotated[EmbeddingsRequest, Json()],
        accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    ) -> Response:
        render = arrow.renderer(accept)
        in_flight: InFlight = request.app.state.in_flight
        in_flight.hold(request.scope, len(body.ids) * _HELD_A_ROW)
        stored: list[Stored | None] = []
        for start in range(0, len(body.ids), _SLICE):
            ids = body.ids[start : start + _SLICE]
            keys = [ProfileKey(parts.settings.tenant, kind, id_) for id_ in ids]
            stored += await parts.profiles.embeddings(keys)
        return await render(body.ids, stored, body.dtype)

    return router
