"""/score: the items that fit a user best, in ones and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from services.profiles.api.batches import stream_rows
from services.profiles.api.bodies import NDJSON, openapi_body, parse, read_json, read_lines
from services.profiles.api.documents import ScoreDocument
from services.profiles.api.problems import documented
from services.profiles.api.profiles import to_history
from services.profiles.api.schemas import ScoreBody
from services.profiles.api.state import parts_of
from services.profiles.scoring.requests import ScoreRequest

if TYPE_CHECKING:
    from services.profiles.settings import Settings

router = APIRouter(tags=["scores"])


@router.post(
    "/score",
    summary="Get the items that fit a user best, each with a score and what carried it",
    response_class=Response,
    responses={200: {"model": ScoreDocument}, **documented(400, 413, 415, 422, 429, 503)},
    openapi_extra=openapi_body("application/json", ScoreBody),
)
async def post_score(request: Request) -> Response:
    """Ranks items for one user."""
    return await answer_score(request)


@router.post(
    "/score:batch",
    summary="Rank items for many users: NDJSON in, NDJSON out, in order",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A RowDocument a line, in the order of the rows that came; `id` is the "
            "row's `user_id`.",
            "content": {NDJSON[0]: {"schema": {"type": "string"}}},
        },
        **documented(400, 413, 415),
    },
    openapi_extra=openapi_body(NDJSON[0], ScoreBody),
)
async def post_scores(request: Request) -> Response:
    """Ranks items for rows one by one, many at a time."""
    parts = parts_of(request)
    lines = await read_lines(
        request, limit=parts.settings.max_batch_bytes, most=parts.settings.max_batch_rows
    )

    async def answer(line: bytes) -> bytes:
        found = await parts.scoring.score(to_request(parse(line, ScoreBody), parts.settings))
        return b',"score":' + found.document()

    answers = stream_rows(
        lines, answer, parts.metrics, limit=parts.settings.max_body_bytes, id_member="user_id"
    )
    return StreamingResponse(answers, media_type=NDJSON[0])


async def answer_score(request: Request) -> Response:
    """Answers POST /score."""
    parts = parts_of(request)
    body = await read_json(request, ScoreBody, limit=parts.settings.max_body_bytes)
    answer = await parts.scoring.score(to_request(body, parts.settings))
    return Response(answer.document(), media_type="application/json")


def to_request(body: ScoreBody, settings: Settings) -> ScoreRequest:
    """Returns a request body as the service takes it.

    Raises:
        InvalidInput: The history is longer than the settings allow.
    """
    return ScoreRequest(
        user_id=body.user_id,
        history=to_history(body.history, settings),
        candidates=None if body.candidates is None else tuple(body.candidates),
        exclude=tuple(body.exclude),
        k=body.k,
        deadline_s=None if body.deadline_ms is None else body.deadline_ms / 1000,
        reasons=body.reasons,
    )
