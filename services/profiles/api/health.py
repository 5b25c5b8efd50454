"""/healthz, /readyz and /metrics: what an orchestrator and a monitor ask."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from reclm_client.schemas.health import Health, Readiness
from services.profiles.api.parts import ServiceParts

router = APIRouter(tags=["operation"])


@router.get("/healthz", summary="Does the process answer?")
async def healthz() -> Health:
    """Says that the process answers."""
    return Health()


@router.get(
    "/readyz",
    summary="Can the service work? Names each dependency",
    responses={503: {"model": Readiness}},
)
async def readyz(parts: ServiceParts, response: Response) -> Readiness:
    """Asks every dependency at the same time."""
    dependencies = parts.dependencies
    states = await asyncio.gather(*(dependency.state() for dependency in dependencies))
    found = list(zip(dependencies, states, strict=True))
    unready = any(dependency.vital and state.status == "down" for dependency, state in found)
    troubled = any(state.status != "up" for state in states)
    if unready:
        response.status_code = 503
    return Readiness(
        status="unready" if unready else "degraded" if troubled else "ready",
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
