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
from services.profiles.domain.parsing import parse
from services.profiles.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response
    from pydantic import GetCoreSchemaHandler

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
            lambda body: [line for line in body.split(b"\n") if line.strip()],
        )


NDJSON_BODY = Body(media_type=NDJSON)


class BodyRoute(APIRoute):
    """Reads a body within the limit for single requests before FastAPI sees it."""

    media_types: ClassVar[tuple[str, ...]] = (JSON,)

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return settings.max_body_bytes

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns what answers a request."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def limited(request: Request) -> Response:
            limit = self.limit(parts_of(request).settings)
            return await handler(_Whole(request, await read(request, self.media_types, limit)))

        return limited


class LargeBodyRoute(BodyRoute):
    """The same within the limit for batches."""

    @staticmethod
    def limit(settings: Settings) -> int:
        """Returns the most bytes that a body may have."""
        return settings.max_batch_bytes


class NdjsonRoute(LargeBodyRoute):
    """The same for NDJSON."""

    media_types = _NDJSON


class _Whole(Request):
    """A request whose body has been read.

    Where FastAPI asks for a JSON document it is given the bytes, which `Json` expects. An empty
    body would pass for none, and is refused like any other that is no JSON.
    """

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._body = self._json = body or b" "


async def read(request: Request, media_types: tuple[str, ...], limit: int) -> bytes:
    """Returns the body, reading no further than the limit.

    Raises:
        UnsupportedMediaType: It is declared as something else.
        BodyTooLarge: It is over the limit.
        MalformedBody: The client went away in the middle of it.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in media_types:
        raise UnsupportedMediaType(f"send the body with Content-Type: {media_types[0]}")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
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
