"""/profiles: get or generate, in ones and batches, read, erase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from reclm_client.schemas.batch import ProfileLine
from reclm_client.schemas.profile import Kind, Profile, ProfileRequest, UserProfileRequest
from services.profiles.api.batches import NdjsonDocumented, answer_rows
from services.profiles.api.bodies import (
    JSON,
    NDJSON_BODY,
    BodyRoute,
    Json,
    Ndjson,
    NdjsonRoute,
    read_json,
)
from services.profiles.api.disconnects import gone
from services.profiles.api.parts import ServiceParts, parts_of
from services.profiles.api.paths import PathId
from services.profiles.api.problems import documented
from services.profiles.domain import requests
from services.profiles.domain.parsing import parse
from services.profiles.domain.profile import ProfileKey

if TYPE_CHECKING:
    from services.profiles.cache.answer import ProfileAnswer
    from services.profiles.cache.demand import Gone
    from services.profiles.parts import Parts

ONLINE_WAIT = "RECLM-Online-Wait"
"""Header of answers to requests in the background: seconds that others have waited of late."""

_BODIES: dict[Kind, type[UserProfileRequest]] = {"user": UserProfileRequest, "item": ProfileRequest}

single = APIRouter(route_class=BodyRoute)
batches = APIRouter(route_class=NdjsonRoute)


@single.post(
    "/profiles/user",
    tags=["user profiles"],
    summary="Get the profile of a user, or generate it",
    responses=documented(400, 409, 413, 415, 422, 429, 502, 503),
)
async def post_user_profile(
    parts: ServiceParts, body: Annotated[UserProfileRequest, Json()]
) -> Profile:
    """Returns the stored profile if it is what is asked for, else a new one."""
    return (await _answer(parts, "user", body)).profile(embedding=body.embedding)


@single.post(
    "/profiles/item",
    tags=["item profiles"],
    summary="Get the profile of an item, or generate it",
    responses=documented(400, 404, 409, 413, 415, 422, 429, 502, 503),
)
async def post_item_profile(
    parts: ServiceParts, body: Annotated[ProfileRequest, Json()]
) -> Profile:
    """Returns the stored profile if it is what is asked for, else a new one."""
    return (await _answer(parts, "item", body)).profile(embedding=body.embedding)


@batches.post(
    "/profiles/user:batch",
    tags=["user profiles"],
    summary="Get or generate many user profiles: NDJSON in, NDJSON out, in order",
    response_class=NdjsonDocumented,
    response_model=ProfileLine,
    response_description="A line for each row, in the order of the rows that came.",
    responses=documented(400, 413, 415, 429, 503),
)
async def post_user_profiles(
    parts: ServiceParts, lines: Annotated[list[bytes], Ndjson(UserProfileRequest), NDJSON_BODY]
) -> Response:
    """Does for each row what is done for a single request."""
    return _answer_rows(parts, "user", lines)


@batches.post(
    "/profiles/item:batch",
    tags=["item profiles"],
    summary="Get or generate many item profiles: NDJSON in, NDJSON out, in order",
    response_class=NdjsonDocumented,
    response_model=ProfileLine,
    response_description="A line for each row, in the order of the rows that came.",
    responses=documented(400, 413, 415, 429, 503),
)
async def post_item_profiles(
    parts: ServiceParts, lines: Annotated[list[bytes], Ndjson(ProfileRequest), NDJSON_BODY]
) -> Response:
    """Does for each row what is done for a single request."""
    return _answer_rows(parts, "item", lines)


async def direct(kind: Kind, request: Request) -> Response:
    """Answers POST /profiles/{kind} with a stored profile's own bytes: the short way."""
    parts = parts_of(request)
    body = parse(await read_json(request), _BODIES[kind])
    answer = await _answer(parts, kind, body, gone=gone(request))
    headers = None
    if body.background:
        headers = {ONLINE_WAIT: f"{parts.profiles.online_wait_s:.3f}"}
    return Response(answer.document(embedding=body.embedding), headers=headers, media_type=JSON)


def of_kind(kind: Kind) -> APIRouter:
    """Returns the calls that are the same for both kinds of profile."""
    router = APIRouter(tags=[f"{kind} profiles"])

    @router.get(
        f"/profiles/{kind}/{{id:path}}",
        summary="Read a profile without generating one",
        responses=documented(404, 422, 503),
    )
    async def get_profile(
        parts: ServiceParts,
        id: PathId,  # noqa: A002 - the field's name
        embedding: Annotated[bool, Query(description="Add the embedding.")] = False,
    ) -> Profile:
        found = await parts.profiles.lookup(ProfileKey(parts.settings.tenant, kind, id))
        return found.profile(embedding=embedding)

    @router.delete(
        f"/profiles/{kind}/{{id:path}}",
        summary="Erase a profile, its embedding and all that derives from them",
        status_code=204,
        responses=documented(404, 422, 503),
    )
    async def delete_profile(
        parts: ServiceParts,
        id: PathId,  # noqa: A002 - the field's name
    ) -> None:
        await parts.profiles.erase(ProfileKey(parts.settings.tenant, kind, id))

    return router


def _answer_rows(parts: Parts, kind: Kind, lines: list[bytes]) -> Response:
    async def answer(line: bytes) -> dict[str, Any]:
        body = parse(line, _BODIES[kind])
        found = await _answer(parts, kind, body)
        await parts.turns.take()
        return {"profile": found.profile(embedding=body.embedding)}

    return answer_rows(parts, lines, answer, line=ProfileLine)


async def _answer(
    parts: Parts, kind: Kind, body: UserProfileRequest, *, gone: Gone | None = None
) -> ProfileAnswer:
    settings = parts.settings
    return await parts.profiles.profile(
        requests.profile_request(
            body, kind, tenant=settings.tenant, max_history=settings.max_history
        ),
        gone=gone,
    )
