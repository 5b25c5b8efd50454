"""/healthz, /readyz and /metrics: what an orchestrator and a monitor ask."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from reclm_client.schemas.health import Health, Readiness
from services.profiles.api.access import is_known
from services.profiles.api.parts import ServiceParts

router = APIRouter(tags=["operation"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Does the process answer?")
async def healthz() -> Health:
    """Says that the process answers."""
    return Health()


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Can the service work? Names each dependency to callers with a key",
    responses={503: {"model": Readiness}},
)
async def readyz(request: Request, parts: ServiceParts, response: Response) -> Readiness:
    """Asks every dependency at the same time, at most once in two seconds."""
    dependencies = parts.dependencies
    states = await asyncio.gather(*(dependency.state() for dependency in dependencies))
    found = list(zip(dependencies, states, strict=True))
    unready = any(dependency.vital and state.status == "down" for dependency, state in found)
    troubled = any(state.status != "up" for state in states)
    if unready:
        response.status_code = 503
    status: Literal["ready", "degraded", "unready"] = (
        "unready" if unready else "degraded" if troubled else "ready"
    )
    if not is_known(request):
        return Readiness(status)
    return Readiness(
        status,
        dependencies={dependency.name: state for dependency, state in found},
        version=parts.profiles.version,
    )


@router.get(
    "/metrics",
    summary="Prometheus metrics, summed over the server's workers",
    response_class=PlainTextResponse,
)
async def metrics(parts: ServiceParts) -> Response:
    """Renders the metrics."""
    body = await asyncio.to_thread(parts.metrics.render)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")
