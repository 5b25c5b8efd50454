"""/admin/erasures: who was erased, for exports; and what may still hold copies, for receipts."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from reclm_client.schemas.erasure import Copies, Erasure, ErasurePage
from reclm_client.schemas.fields import from_milliseconds
from services.profiles.api.parts import ServiceParts
from services.profiles.api.problems import documented
from services.profiles.retention import copies_of

router = APIRouter(prefix="/admin/erasures", tags=["erasures"])

_MARGIN_MS = 60_000
"""How far the clocks of this service and of the store may be apart."""

_Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]


@router.get(
    "", summary="List the users who were erased, in no order", responses=documented(422, 503)
)
async def list_erasures(
    parts: ServiceParts,
    cursor: Annotated[_Cursor | None, Query(description="From the page before.")] = None,
    limit: Annotated[
        int, Query(ge=1, le=10_000, description="About how many; a page may have more.")
    ] = 1000,
) -> ErasurePage:
    """Returns a page; a user may be in more than one."""
    as_of = time.time_ns() // 1_000_000 - _MARGIN_MS
    found, after = await parts.erasures.page(parts.settings.tenant, cursor=cursor, limit=limit)
    erasures = (Erasure(user_id, from_milliseconds(at_ms)) for user_id, at_ms in found)
    return ErasurePage(from_milliseconds(as_of), tuple(erasures), after)


@router.get(
    "/copies",
    summary="Say what may still hold data of who was erased, and for how long",
    responses=documented(503),
)
async def list_copies(parts: ServiceParts) -> Copies:
    """Returns what the service and its store know of; backups and other jobs' files are not."""
    return Copies(tuple(await copies_of(parts.settings, parts.erasures)))
