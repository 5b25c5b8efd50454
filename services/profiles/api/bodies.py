"""Reads request bodies: content type, size, then JSON straight into the wire schemas.

FastAPI reads a body before it knows of limits, and would make Python objects of it first. A
`BodyRoute` reads it instead, and the annotations `Json` and `Ndjson` have the bytes checked by
the schema of the parameter, which is also what FastAPI documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fastapi import Body, Request
from fastapi.routing import APIRoute
from pydantic_core import core_schema
from starlette.requests import ClientDisconnect

from services.profiles.api.parts import parts_of
from services.profiles.api.shape import check_json
from services.profiles.domain.parsing import parse
from services.profiles.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType
from services.profiles.turns import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response
    from pydantic import GetCoreSchemaHandler

    from services.profiles.api.in_flight import InFlight
    from services.profiles.settings import Settings

JSON = "application/json"
NDJSON = "application/x-ndjson"
_NO_LINES = [b""]
"""Stands for none where FastAPI would take an empty list for no body."""
_NDJSON = (NDJSON, "application/ndjson", "application/jsonl")


class Json:
    """Annotates a body parameter: its bytes are read as JSON of the parameter's schema."""

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Returns a schema that is documented as the parameter's and is given bytes."""
        return _made_of(handler(source), lambda body: parse(body, source))


class Ndjson:
    """Annotates a body parameter of type `list[bytes]`: the lines that have anything on them.

    Args:
        row: The schema of a row, which is documented; each row is checked where it is answered.
    """

    def __init__(self, row: type[Any]) -> None:
        self._row = row

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Returns a schema that is documented as the row's and is given lines."""
        del source  # always list[bytes]
        # The route has cut the lines already.
        return _made_of(
            handler.generate_schema(self._row), lambda lines: [] if lines is _NO_LINES else lines
        )


NDJSON_BODY = Body(media_type=NDJSON)


class BodyRoute(APIRoute):
    """Reads a body within the limit for single requests before FastAPI sees it."""

    media_types: ClassVar[tuple[str, ...]] = (JSON,)

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return settings.max_body_bytes

    async def read(self, request: Request) -> bytes | list[bytes]:
        """Returns what the endpoint's parameter is made of.

        Raises:
            BodyTooLarge: It is over a limit.
            UnsupportedMediaType, MalformedBody, Overloaded: As `_read` does.
        """
        return await _read_json(request, self.limit(parts_of(request).settings))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns what answers a request."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def limited(request: Request) -> Response:
            return await handler(_Whole(request, await self.read(request)))

        return limited


class ItemRoute(BodyRoute):
    """The same within the limit for an item."""

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return min(settings.max_item_bytes, settings.max_body_bytes)


class IdsRoute(BodyRoute):
    """The same within the limit for many ids."""

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return settings.max_ids_bytes


class NdjsonRoute(BodyRoute):
    """The same within the limit for batches, for NDJSON: its rows are checked one by one."""

    media_types = _NDJSON

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return settings.max_batch_bytes

    async def read(self, request: Request) -> bytes | list[bytes]:
        """Returns the lines that have anything on them.

        Raises:
            BodyTooLarge: It is over the limit, or has too many lines.
            UnsupportedMediaType, MalformedBody, Overloaded: As `_read` does.
        """
        settings = parts_of(request).settings
        lines = _Lines(settings.max_batch_rows)
        await _read(request, self.media_types, self.limit(settings), lines.add)
        return lines.all()


class _Lines:
    """Cuts lines as they come: to cut 64 MiB at once would take a tenth of a second.

    Args:
        most_rows: Rows that a batch may have. It may have as many lines without anything on them.
    """

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._lines: list[bytes] = []
        self._count = 0
        self._unfinished: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """Takes what came next.

        Raises:
            BodyTooLarge: There are more than twice as many lines as there may be rows.
        """
        *ended, rest = chunk.split(b"\n")
        self._count += len(ended)
        if self._count > 2 * self._most_rows:
            raise BodyTooLarge(
                f"the batch has over {2 * self._most_rows} lines; send at most "
                f"{self._most_rows} rows at a time"
            )
        if ended:
            ended[0] = b"".join([*self._unfinished, ended[0]])
            self._unfinished = []
            self._lines += [line for line in ended if line and not line.isspace()]
        self._unfinished.append(rest)

    def all(self) -> list[bytes]:
        """Returns the lines, what stands behind the last line break included."""
        last = b"".join(self._unfinished)
        return [*self._lines, last] if last and not last.isspace() else self._lines


class _Whole(Request):
    """A request whose body has been read.

    Where FastAPI asks for a JSON document, or for bytes, it is given what was read, which `Json` and
    `Ndjson` expect. An empty body would pass for none: as JSON it is refused like any other that is
    no JSON, and as NDJSON it has no lines.
    """

    def __init__(self, request: Request, body: bytes | list[bytes]) -> None:
        super().__init__(request.scope, request.receive)
        self._json: bytes | list[bytes] = body or (b" " if isinstance(body, bytes) else _NO_LINES)
        self._body = self._json  # type: ignore[assignment] # only handed on


async def read_json(request: Request) -> bytes:
    """Returns the body of a single request, which is cheap to read as JSON, when its turn has come.

    Raises:
        BodyTooLarge: It is over the limit, or has too many parts.
        UnsupportedMediaType, MalformedBody, Overloaded: As `_read` does.
    """
    return await _read_json(request, parts_of(request).settings.max_body_bytes)


async def _read_json(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    await _read(request, (JSON,), limit, chunks.append)
    body = b"".join(chunks)
    if len(body) > LARGE:
        await parts_of(request).turns.take()
        check_json(body)
    return body


async def _read(
    request: Request, media_types: tuple[str, ...], limit: int, take: Callable[[bytes], None]
) -> None:
    """Reads the body, no further than the limit.

    Args:
        request: Holds what was read until it is answered.
        media_types: As one of which it must be declared.
        limit: Bytes.
        take: Is given each part as it comes.

    Raises:
        UnsupportedMediaType: It is declared as something else, or as compressed.
        BodyTooLarge: It is over the limit.
        MalformedBody: The client went away in the middle of it.
        Overloaded: The bodies under way have too many bytes together.
    """
    headers = request.headers
    declared = headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in media_types:
        raise UnsupportedMediaType(f"send the body with Content-Type: {media_types[0]}")
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", ""}:
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
    length = headers.get("content-length", "")
    in_flight: InFlight = request.app.state.in_flight
    declared_size = int(length) if length.isdecimal() else None
    if declared_size is not None:
        if declared_size > limit:
            raise _too_large(limit)
        # All of it at once: bodies that are refused in the middle of their way make room for others,
        # which are refused in the middle of theirs.
        in_flight.hold(request.scope, declared_size)
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            if declared_size is None:
                in_flight.hold(request.scope, len(chunk))
            take(chunk)
    except ClientDisconnect as error:
        raise MalformedBody("the body ends before its declared length") from error


def _made_of(
    documented: core_schema.CoreSchema, function: Callable[[Any], Any]
) -> core_schema.CoreSchema:
    return core_schema.json_or_python_schema(
        json_schema=documented,
        python_schema=core_schema.no_info_plain_validator_function(function),
    )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limit} bytes, the most that this call takes")
