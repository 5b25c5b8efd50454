"""/score: the items that fit a user best, in ones and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request, Response

from reclm_client.schemas.batch import ScoreLine
from reclm_client.schemas.score import Score, ScoreRequest
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
from services.profiles.api.problems import documented
from services.profiles.domain.parsing import parse
from services.profiles.domain.requests import check_history

if TYPE_CHECKING:
    from services.profiles.parts import Parts

router = APIRouter(tags=["scores"], route_class=BodyRoute)
batches = APIRouter(tags=["scores"], route_class=NdjsonRoute)


@router.post(
    "/score",
    summary="Get the items that fit a user best, each with a score and what carried it",
    responses=documented(400, 409, 413, 415, 422, 429, 503),
)
async def post_score(parts: ServiceParts, body: Annotated[ScoreRequest, Json()]) -> Score:
    """Ranks items for one user."""
    return await _score(parts, body)


@batches.post(
    "/score:batch",
    summary="Rank items for many users: NDJSON in, NDJSON out, in order",
    response_class=NdjsonDocumented,
    response_model=ScoreLine,
    response_description="A line for each row, in the order of the rows that came.",
    responses=documented(400, 413, 415, 429),
)
async def post_scores(
    parts: ServiceParts, lines: Annotated[list[bytes], Ndjson(ScoreRequest), NDJSON_BODY]
) -> Response:
    """Ranks items for rows one by one, many at a time."""

    async def answer(line: bytes) -> dict[str, Any]:
        return {"score": await _score(parts, parse(line, ScoreRequest))}

    return answer_rows(parts, lines, answer, line=ScoreLine, id_member="user_id")


async def direct(request: Request) -> Response:
    """Answers POST /score with a stored profile's own bytes in it: the short way."""
    parts = parts_of(request)
    body = parse(await read_json(request), ScoreRequest)
    _check(parts, body)
    return Response(await parts.scoring.document(body, gone=gone(request)), media_type=JSON)


async def _score(parts: Parts, body: ScoreRequest) -> Score:
    _check(parts, body)
    return await parts.scoring.score(body)


def _check(parts: Parts, body: ScoreRequest) -> None:
    check_history(body.history, most=parts.settings.max_history)
