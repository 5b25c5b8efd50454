"""/interactions: what users did, and what is known of one."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter

from reclm_client.schemas.event import Accepted, Event, EventsRequest, Interactions
from reclm_client.schemas.fields import from_milliseconds, to_milliseconds
from services.profiles.api.bodies import BodyRoute, Json
from services.profiles.api.parts import ServiceParts
from services.profiles.api.paths import PathId
from services.profiles.api.problems import documented
from services.profiles.errors import InvalidInput
from services.profiles.stores import base

router = APIRouter(tags=["interactions"], route_class=BodyRoute)

_AHEAD_MS = 24 * 3600 * 1000
"""How far a caller's clock may be ahead: an event from the far future would stay the newest."""


@router.post(
    "/interactions",
    summary="Record what users did; their profiles are refreshed behind the answer",
    status_code=202,
    responses=documented(400, 413, 415, 422, 429, 503),
)
async def post_interactions(
    parts: ServiceParts, body: Annotated[EventsRequest, Json()]
) -> Accepted:
    """Records all events or none, but for those from before an erasure of their user."""
    now = time.time_ns() // 1_000_000
    events = [_stored(number, event, now) for number, event in enumerate(body.events)]
    taken = await parts.recorder.record(events)
    count = sum(taken.values())
    return Accepted(events=count, users=len(taken), left_out=len(events) - count)


@router.get(
    "/interactions/{id:path}",
    summary="Read what is known of a user: the newest interactions, oldest first",
    responses=documented(404, 422, 503),
)
async def get_interactions(
    parts: ServiceParts,
    id: PathId,  # noqa: A002 - the field's name
) -> Interactions:
    """Returns a user's interactions; none is an answer too."""
    events = await parts.recorder.events(id)
    shown = (Event(id, event.item_id, from_milliseconds(event.at_ms)) for event in events)
    return Interactions(id, tuple(shown))


def _stored(number: int, event: Event, now_ms: int) -> base.Event:
    at_ms = now_ms if event.timestamp is None else to_milliseconds(event.timestamp)
    if at_ms > now_ms + _AHEAD_MS:
        raise InvalidInput(
            f"body.events.{number}.timestamp: over a day ahead of this service; Unix times are in "
            "ms"
        )
    return base.Event(event.user_id, event.item_id, at_ms)
