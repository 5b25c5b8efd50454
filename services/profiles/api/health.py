"""/healthz, /readyz and /metrics: what an orchestrator and a monitor ask."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from services.profiles.api.documents import HealthDocument, ReadyDocument
from services.profiles.api.state import parts_of
from services.profiles.errors import ReclmError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

router = APIRouter(tags=["operation"])

_CHECK_S = 2.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that the service needs.

    Attributes:
        vital: Without it nothing can be answered, not even from the cache.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    vital: bool


@router.get(
    "/healthz",
    summary="Does the process answer?",
    response_class=Response,
    responses={200: {"model": HealthDocument}},
)
async def healthz() -> Response:
    """Says that the process answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get(
    "/readyz",
    summary="Can the service work? Names each dependency",
    response_class=Response,
    responses={200: {"model": ReadyDocument}, 503: {"model": ReadyDocument}},
)
async def readyz(request: Request) -> Response:
    """Asks every dependency at the same time."""
    parts = parts_of(request)
    dependencies = parts.dependencies
    found = await asyncio.gather(*(_ask(dependency) for dependency in dependencies))
    down = [
        dependency
        for dependency, entry in zip(dependencies, found, strict=True)
        if entry["status"] == "down"
    ]
    status = "unready" if any(d.vital for d in down) else "degraded" if down else "ready"
    body = {
        "status": status,
        "dependencies": {d.name: entry for d, entry in zip(dependencies, found, strict=True)},
        "version": asdict(parts.profiles.version),
    }
    return Response(
        to_json(body), 503 if status == "unready" else 200, media_type="application/json"
    )


@router.get(
    "/metrics",
    summary="Prometheus metrics, summed over the server's workers",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Renders the metrics."""
    body = await asyncio.to_thread(parts_of(request).metrics.render)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _ask(dependency: Dependency) -> dict[str, Any]:
    started = time.perf_counter()
    error = None
    try:
        async with asyncio.timeout(_CHECK_S):
            await dependency.check()
    except TimeoutError:
        error = f"no answer within {_CHECK_S:g} s"
    except ReclmError as raised:
        error = raised.detail
    latency_ms = round((time.perf_counter() - started) * 1000, 2)
    if error is None:
        return {"status": "up", "latency_ms": latency_ms}
    return {"status": "down", "latency_ms": latency_ms, "error": error}
