"""Runs the application in this process, with its lifespan and a client but without a port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx

from services.profiles.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.profiles.settings import Settings


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Runs the application and yields a client. Several applications behave like several workers."""
    app = create_app(settings)
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    life = asyncio.ensure_future(app(scope, incoming.get, outgoing.put))  # type: ignore[arg-type]
    await incoming.put({"type": "lifespan.startup"})
    answer = await outgoing.get()
    assert answer["type"] == "lifespan.startup.complete", answer
    try:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service", timeout=30
        ) as client:
            yield client
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await life
