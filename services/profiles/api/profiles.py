"""/profiles: get or generate, in ones and batches, read, erase; and /embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.profiles.api import arrow
from services.profiles.api.batches import stream_rows
from services.profiles.api.bodies import NDJSON, openapi_body, parse, read_json, read_lines
from services.profiles.api.documents import EmbeddingsDocument, ProfileDocument
from services.profiles.api.paths import PathId
from services.profiles.api.problems import documented
from services.profiles.api.schemas import EmbeddingsBody, ItemProfileBody, ProfileBody
from services.profiles.api.state import Parts, parts_of
from services.profiles.domain.profile import Kind, ProfileKey
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.api.schemas import InlineItem
    from services.profiles.domain.profile import Item
    from services.profiles.settings import Settings

BODIES: dict[Kind, type[ProfileBody]] = {"user": ProfileBody, "item": ItemProfileBody}

_GENERATE = documented(400, 413, 415, 422, 429, 502, 503)
_DOCUMENT: dict[int | str, dict[str, Any]] = {200: {"model": ProfileDocument}}


def routes(kind: Kind) -> APIRouter:
    """Returns the calls for one kind of profile."""
    router = APIRouter(tags=[f"{kind} profiles"])
    body_model = BODIES[kind]

    @router.post(
        f"/profiles/{kind}",
        summary=f"Get the profile of a{'n' if kind == 'item' else ''} {kind}, or generate it",
        response_class=Response,
        responses={**_DOCUMENT, **_GENERATE},
        openapi_extra=openapi_body("application/json", body_model),
    )
    async def post_profile(request: Request) -> Response:
        return await answer_profile(kind, request)

    @router.post(
        f"/profiles/{kind}:batch",
        summary=f"Get or generate many {kind} profiles: NDJSON in, NDJSON out, in order",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "A RowDocument a line, in the order of the rows that came.",
                "content": {NDJSON[0]: {"schema": {"type": "string"}}},
            },
            **documented(400, 413, 415, 503),
        },
        openapi_extra=openapi_body(NDJSON[0], body_model),
    )
    async def post_profiles(request: Request) -> Response:
        parts = parts_of(request)
        lines = await read_lines(
            request, limit=parts.settings.max_batch_bytes, most=parts.settings.max_batch_rows
        )

        async def answer(line: bytes) -> bytes:
            body = parse(line, body_model)
            found = await parts.profiles.profile(to_request(body, kind, parts.settings))
            return b',"profile":' + found.document(embedding=body.embedding)

        answers = stream_rows(lines, answer, parts.metrics, limit=parts.settings.max_body_bytes)
        return StreamingResponse(answers, media_type=NDJSON[0])

    @router.get(
        f"/profiles/{kind}/{{id:path}}",
        summary="Read a profile without generating one",
        response_class=Response,
        responses={**_DOCUMENT, **documented(404, 422, 503)},
    )
    async def get_profile(
        request: Request,
        id: PathId,  # noqa: A002 - the field's name
        embedding: Annotated[bool, Query(description="Add the embedding.")] = False,
    ) -> Response:
        parts = parts_of(request)
        answer = await parts.profiles.lookup(_key(parts, kind, id))
        return Response(answer.document(embedding=embedding), media_type="application/json")

    @router.delete(
        f"/profiles/{kind}/{{id:path}}",
        summary="Erase a profile, its embedding and all that derives from them",
        status_code=204,
        responses=documented(404, 422, 503),
    )
    async def delete_profile(
        request: Request,
        id: PathId,  # noqa: A002 - the field's name
    ) -> None:
        parts = parts_of(request)
        await parts.profiles.erase(_key(parts, kind, id))

    @router.post(
        f"/embeddings/{kind}",
        summary="Read the embeddings of many profiles, as JSON or as an Arrow IPC stream",
        response_class=Response,
        responses={
            200: {
                "description": "By `Accept`.",
                "content": {
                    "application/json": {
                        "schema": {"$ref": f"#/components/schemas/{EmbeddingsDocument.__name__}"}
                    },
                    arrow.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **documented(400, 406, 413, 415, 422, 503),
        },
        openapi_extra=openapi_body("application/json", EmbeddingsBody),
    )
    async def post_embeddings(request: Request) -> Response:
        parts = parts_of(request)
        render = arrow.renderer(request.headers.get("accept", "*/*"))
        body = await read_json(request, EmbeddingsBody, limit=parts.settings.max_batch_bytes)
        stored = await parts.profiles.embeddings([_key(parts, kind, id_) for id_ in body.ids])
        return render(body.ids, stored, body.dtype)

    return router


async def answer_profile(kind: Kind, request: Request) -> Response:
    """Answers POST /profiles/{kind}."""
    parts = parts_of(request)
    body = await read_json(request, BODIES[kind], limit=parts.settings.max_body_bytes)
    answer = await parts.profiles.profile(to_request(body, kind, parts.settings))
    return Response(answer.document(embedding=body.embedding), media_type="application/json")


def _key(parts: Parts, kind: Kind, id_: str) -> ProfileKey:
    return ProfileKey(parts.settings.tenant, kind, id_)


def to_request(body: ProfileBody, kind: Kind, settings: Settings) -> ProfileRequest:
    """Returns a request body as the service takes it.

    Raises:
        InvalidInput: The history is longer than the settings allow.
    """
    item = body.item if isinstance(body, ItemProfileBody) else None
    return ProfileRequest(
        key=ProfileKey(settings.tenant, kind, body.id),
        history=to_history(body.history, settings),
        item=None if item is None else item.to_item(body.id),
        refresh=body.refresh,
        max_age_s=body.max_age_s,
        deadline_s=None if body.deadline_ms is None else body.deadline_ms / 1000,
        background=body.background,
    )


def to_history(entries: Sequence[str | InlineItem], settings: Settings) -> tuple[str | Item, ...]:
    """Returns a body's history as the service takes it.

    Raises:
        InvalidInput: It is longer than the settings allow.
    """
    if len(entries) > settings.max_history:
        raise InvalidInput(
            f"body.history: {len(entries)} entries; send at most {settings.max_history}, "
            "the newest, since older ones are not read"
        )
    return tuple(
        entry if isinstance(entry, str) else entry.to_item(entry.id or "") for entry in entries
    )
