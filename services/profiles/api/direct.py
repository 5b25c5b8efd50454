"""A short way to the calls that are made most.

Between the server and an endpoint, FastAPI and Starlette spend more time than a cache hit takes.
The calls named here are answered before the app sees them; the app has endpoints for the same
calls, which are documented. Why: docs/decisions/0003-short-way.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response

from services.profiles.api.problems import respond, respond_to_bug
from services.profiles.errors import ReclmError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Route:
    """What `Observe` looks for in a scope."""

    path: str


class Direct:
    """Answers POST requests to exact paths, and leaves all others to the app.

    Args:
        app: Whose state the endpoints use.
        endpoints: By path.
    """

    def __init__(self, app: FastAPI, *, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = {path: (_Route(path), endpoint) for path, endpoint in endpoints.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes the request on."""
        found = self._endpoints.get(scope["path"]) if scope.get("method") == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        scope["route"], endpoint = found
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except ReclmError as error:
            response = respond(request, error)
        except Exception as error:  # noqa: BLE001 - as the app does: logged, and answered with 500
            response = respond_to_bug(request, error)
        await response(scope, receive, send)
