"""/embeddings: the vectors of many profiles, as JSON or as an Arrow IPC stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Response

from reclm_client.schemas.embedding import EmbeddingRows, EmbeddingsRequest
from services.profiles.api import arrow
from services.profiles.api.bodies import Json, LargeBodyRoute
from services.profiles.api.parts import ServiceParts
from services.profiles.api.problems import documented
from services.profiles.domain.profile import ProfileKey

if TYPE_CHECKING:
    from reclm_client.schemas.profile import Kind


def of_kind(kind: Kind) -> APIRouter:
    """Returns the call for one kind of profile."""
    router = APIRouter(tags=[f"{kind} profiles"], route_class=LargeBodyRoute)

    @router.post(
        f"/embeddings/{kind}",
        summary="Read the embeddings of many profiles, as JSON or as an Arrow IPC stream",
        response_model=EmbeddingRows,
        response_description="By `Accept`.",
        responses={
            200: {
                "content": {arrow.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
            },
            **documented(400, 406, 413, 415, 422, 503),
        },
    )
    async def post_embeddings(
        parts: ServiceParts,
        body: Annotated[EmbeddingsRequest, Json()],
        accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    ) -> EmbeddingRows | Response:
        render = arrow.renderer(accept)
        keys = [ProfileKey(parts.settings.tenant, kind, id_) for id_ in body.ids]
        return render(body.ids, await parts.profiles.embeddings(keys), body.dtype)

    return router
