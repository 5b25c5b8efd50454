"""Around every request: an id for logs and callers, the time it took, and what it held."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from services.profiles.telemetry import LOGGER, request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from services.profiles.api.in_flight import InFlight
    from services.profiles.telemetry import Metrics

_HEADER = b"x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Observe:
    """Takes or makes the request id, measures, and logs requests that failed.

    Args:
        in_flight: Gets back what a request held, when it has been answered.
        access_log: Log every request.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, in_flight: InFlight, access_log: bool
    ) -> None:
        self._app = app
        self._in_flight = in_flight
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, observed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        id_ = _id_for(scope)
        request_id.set(id_.decode())
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_HEADER, id_)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._in_flight.release(scope)
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.http_seconds.labels(route, status).observe(seconds)
            if self._access_log or status >= 500:
                data: dict[str, Any] = {
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 2),
                }
                LOGGER.info("request", extra={"data": data})


def _id_for(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == _HEADER and _GIVEN.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
