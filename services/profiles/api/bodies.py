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
from services.profiles.api.shape import check_json, check_lines
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
_NDJSON = (NDJSON, "application/ndjson", "application/jsonl")


class Json:
    """Annotates a body parameter: its bytes are read as JSON of the parameter's schema."""

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Returns a schema that is documented as the parameter's and is given bytes."""
        return _from_bytes(handler(source), lambda body: parse(body, source))


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
        """Returns a schema that is documented as the row's and is given bytes."""
        del source  # always list[bytes]
        return _from_bytes(
            handler.generate_schema(self._row),
            lambda body: [line for line in body.split(b"\n") if line and not line.isspace()],
        )


NDJSON_BODY = Body(media_type=NDJSON)


class BodyRoute(APIRoute):
    """Reads a body within the limit for single requests before FastAPI sees it."""

    media_types: ClassVar[tuple[str, ...]] = (JSON,)

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return settings.max_body_bytes

    @staticmethod
    def check(body: bytes, settings: Settings) -> None:
        """Refuses a body within the limit that would be expensive to read.

        Raises:
            BodyTooLarge: It has too many parts.
        """
        del settings  # what JSON may cost depends on the machine and not on the deployment
        check_json(body)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns what answers a request."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def limited(request: Request) -> Response:
            settings = parts_of(request).settings
            body = await read_bytes(request, self.media_types, self.limit(settings))
            self.check(body, settings)
            await take_turn(request, body)
            return await handler(_Whole(request, body))

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

    @staticmethod
    def check(body: bytes, settings: Settings) -> None:
        """Refuses a batch of too many lines.

        Raises:
            BodyTooLarge: There are many more lines than rows in a batch.
        """
        check_lines(body, settings.max_batch_rows)


class _Whole(Request):
    """A request whose body has been read.

    Where FastAPI asks for a JSON document it is given the bytes, which `Json` expects. An empty
    body would pass for none, and is refused like any other that is no JSON.
    """

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._body = self._json = body or b" "


async def read_json(request: Request) -> bytes:
    """Returns the body of a single request, which is cheap to read as JSON, when its turn has come.

    Raises:
        BodyTooLarge: It is over the limit, or has too many parts.
        UnsupportedMediaType, MalformedBody, Overloaded: As `read_bytes` does.
    """
    body = await read_bytes(request, (JSON,), parts_of(request).settings.max_body_bytes)
    check_json(body)
    await take_turn(request, body)
    return body


async def take_turn(request: Request, body: bytes) -> None:
    """Waits until a body may be read without holding up others; a small one may at once."""
    if len(body) > LARGE:
        await parts_of(request).turns.take()


async def read_bytes(request: Request, media_types: tuple[str, ...], limit: int) -> bytes:
    """Returns the body, reading no further than the limit.

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
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    in_flight: InFlight = request.app.state.in_flight
    chunks = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            in_flight.hold(request.scope, len(chunk))
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise MalformedBody("the body ends before its declared length") from error
    return b"".join(chunks)


def _from_bytes(
    documented: core_schema.CoreSchema, function: Callable[[bytes], Any]
) -> core_schema.CoreSchema:
    return core_schema.json_or_python_schema(
        json_schema=documented,
        python_schema=core_schema.no_info_plain_validator_function(function),
    )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limit} bytes, the most that this call takes")
