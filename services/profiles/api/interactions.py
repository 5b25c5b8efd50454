"""/interactions: what users did, and what is known of one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from services.profiles.api.bodies import openapi_body, read_json
from services.profiles.api.documents import AcceptedDocument, EventsDocument
from services.profiles.api.paths import PathId
from services.profiles.api.problems import documented
from services.profiles.api.schemas import EventsBody
from services.profiles.api.state import parts_of
from services.profiles.errors import InvalidInput
from services.profiles.stores.base import Event

if TYPE_CHECKING:
    from services.profiles.api.schemas import EventBody

router = APIRouter(tags=["interactions"])

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_AHEAD_MS = 24 * 3600 * 1000
"""How far a caller's clock may be ahead: an event from the far future would stay the newest."""


@router.post(
    "/interactions",
    summary="Tell what users did; their profiles are refreshed behind the answer",
    status_code=202,
    response_class=Response,
    responses={202: {"model": AcceptedDocument}, **documented(400, 413, 415, 422, 503)},
    openapi_extra=openapi_body("application/json", EventsBody),
)
async def post_interactions(request: Request) -> Response:
    """Records all events or none."""
    parts = parts_of(request)
    body = await read_json(request, EventsBody, limit=parts.settings.max_body_bytes)
    now = time.time_ns() // 1_000_000
    events = [_to_event(number, event, now) for number, event in enumerate(body.events)]
    users = await parts.recorder.record(events)
    accepted = {"events": len(events), "users": users}
    return Response(to_json(accepted), 202, media_type="application/json")


@router.get(
    "/interactions/{id:path}",
    summary="Read what is known of a user: the newest interactions, oldest first",
    response_class=Response,
    responses={200: {"model": EventsDocument}, **documented(404, 422, 503)},
)
async def get_interactions(
    request: Request,
    id: PathId,  # noqa: A002 - the field's name
) -> Response:
    """Returns a user's interactions; none is an answer too."""
    events = await parts_of(request).recorder.events(id)
    rows = [{"item_id": event.item_id, "timestamp": _shown(event.at_ms)} for event in events]
    return Response(to_json({"user_id": id, "events": rows}), media_type="application/json")


def _to_event(number: int, body: EventBody, now_ms: int) -> Event:
    where = f"body.events.{number}.timestamp"
    at_ms = now_ms
    if isinstance(body.timestamp, int):
        at_ms = body.timestamp
    elif isinstance(body.timestamp, str):
        try:
            at_ms = (datetime.fromisoformat(body.timestamp) - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError) as error:
            raise InvalidInput(f"{where}: not a time that there is") from error
    if at_ms < 0:
        raise InvalidInput(f"{where}: before 1970")
    if at_ms > now_ms + _AHEAD_MS:
        raise InvalidInput(f"{where}: over a day ahead of this service; Unix times are in ms")
    return Event(body.user_id, body.item_id, at_ms)


def _shown(at_ms: int) -> str:
    at = _EPOCH + at_ms * _MILLISECOND
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
