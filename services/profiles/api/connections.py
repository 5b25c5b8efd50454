"""What a connection may cost: limits and timeouts that uvicorn does not have.

uvicorn with httptools reads headers without a limit, and waits without end for the rest of a
request, for a first byte, and for a caller who does not read the answer. All this is before the
check of the key, so anybody could do it. Why it is here and not in a proxy:
docs/decisions/0021-hostile-callers.md.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.profiles.api.problems import MEDIA_TYPE, problem_of
from services.profiles.errors import (
    HeadersTooLarge,
    MalformedRequest,
    Overloaded,
    ReclmError,
    RequestTimeout,
)
from services.profiles.telemetry import LOGGER, request_id

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from services.profiles.settings import Settings

METRICS = "metrics"
"""Under which name the lifespan's state has the metrics."""

_MOST_PIPELINED = 16
"""Requests that may wait behind one under way on the same connection."""

_LINGER_S = 5.0
"""How long the rest of a body may come after its answer: a caller who is still sending when the
connection ends may lose the answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the connections of one process may cost.

    Attributes:
        header_bytes: Of the request line and the headers.
        connections: Open at a time.
        header_timeout_s: From the connection, or the first byte of a later request, to the end of
            the headers.
        body_timeout_s: From the end of the headers to the end of the body.
        write_timeout_s: Until some of what was written has been read.
    """

    header_bytes: int
    connections: int
    header_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float

    @classmethod
    def of(cls, settings: Settings, *, connections: int) -> Self:
        """Returns the limits in the settings, but for the number of connections."""
        return cls(
            header_bytes=settings.max_header_bytes,
            connections=connections,
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            write_timeout_s=settings.write_timeout_s,
        )


class LimitedProtocol(HttpToolsProtocol):
    """One connection, within limits.

    Requests that break one are answered with a problem document where an answer makes sense, and
    the connection ends.

    Args:
        limits: For each connection, and for all of this process.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._receiving: Literal["nothing", "headers", "body"] = "nothing"
        # Bytes since headers ended or a part of a body came: the parser keeps what is unfinished.
        self._unfinished = 0
        self._broken: ReclmError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # Of the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Overloaded(f"over {self._limits.connections} connections are open"))
            return
        self._wait("headers")

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all waiting."""
        self._stop_waiting()
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, and decides how long to wait for what is missing."""
        if self.transport.is_closing():
            return
        self._unfinished += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unfinished > self._limits.header_bytes and self._receiving != "nothing":
            self._refuse(self._headers_too_large())
        elif self._receiving == "body":
            if not self.pipeline:
                self._wait("body")
        elif self._answering():
            self._stop_waiting()
        else:
            # The beginning of a request, or empty lines before one.
            self._wait("headers")

    def pause_writing(self) -> None:
        """Begins to wait for the caller to read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.write_timeout_s, self._abort)

    def resume_writing(self) -> None:
        """Ends the wait for the caller to read."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self.flow is not None:
            super().resume_writing()

    # Of the parser

    def on_message_begin(self) -> None:
        """Begins a request."""
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._broken = MalformedRequest(
                f"over {_MOST_PIPELINED} requests wait for answers on this connection"
            )
            raise _Refused
        self._receiving = "headers"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begins to answer."""
        if self._unfinished > self._limits.header_bytes:
            # Only what comes in one piece with its end gets here; the piece may have a body too.
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self._limits.header_bytes:
                self._broken = self._headers_too_large()
                raise _Refused
        self._receiving = "body"
        self._unfinished = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hands on a part of the body."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request."""
        self._receiving = "nothing"
        self._unfinished = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses what the parser refuses, or what a callback of it above does."""
        self._refuse(self._broken or MalformedRequest(msg))

    # Of the answer

    def on_response_complete(self) -> None:
        """Waits for the rest of a body, a little if it has been answered already."""
        super().on_response_complete()
        if self._receiving != "body" or self.pipeline or self.transport.is_closing():
            return
        if self._answering():
            self._wait("body")
        else:
            self._stop_waiting()
            self._deadline = self.loop.call_later(_LINGER_S, self._abort)

    # Of its own

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, for_what: Literal["headers", "body"]) -> None:
        """Limits the time for the rest, from the first time that it is waited for."""
        if self._deadline is None:
            limits = self._limits
            seconds = limits.body_timeout_s if for_what == "body" else limits.header_timeout_s
            self._deadline = self.loop.call_later(seconds, self._too_late, for_what, seconds)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self, for_what: str, seconds: float) -> None:
        if for_what == "headers" and self._unfinished == 0:
            self._abort()
            return
        self._refuse(RequestTimeout(f"the {for_what} did not arrive within {seconds:g} s"))

    def _headers_too_large(self) -> HeadersTooLarge:
        most = self._limits.header_bytes
        return HeadersTooLarge(f"request line and headers are over {most} bytes together")

    def _refuse(self, error: ReclmError) -> None:
        """Writes a problem document, unless an answer has begun, and ends the connection."""
        if self.transport.is_closing():
            return
        LOGGER.debug("connection refused", extra={"data": {"code": error.code}})
        if METRICS in self.app_state:
            self.app_state[METRICS].errors.labels(error.code).inc()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_document(error))
        if self._answering():
            # The application need not wait for the rest.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._stop_waiting()
        self.transport.close()

    def _abort(self) -> None:
        """Ends the connection without another byte."""
        self.transport.abort()


class _Refused(Exception):
    """Stops the parser in a callback."""


def _document(error: ReclmError) -> bytes:
    """Returns a whole response with a problem document."""
    token = request_id.set(secrets.token_hex(8))
    try:
        problem = problem_of(error)
    finally:
        request_id.reset(token)
    body = problem.model_dump_json().encode()
    headers = [
        ("content-type", MEDIA_TYPE),
        ("content-length", str(len(body))),
        ("x-request-id", problem.request_id),
        ("connection", "close"),
    ]
    if problem.retry_after is not None:
        headers.append(("retry-after", str(problem.retry_after)))
    lines = [f"{name}: {value}\r\n".encode() for name, value in headers]
    return b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body])
