"""Reads request bodies: type, size, and JSON straight into models, without a detour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from services.profiles.api.problems import invalid
from services.profiles.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType

if TYPE_CHECKING:
    from fastapi import Request

    from services.profiles.errors import ReclmError

M = TypeVar("M", bound=BaseModel)

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")


async def read_json(request: Request, model: type[M], *, limit: int) -> M:
    """Returns the body as a model; `limit` is the most bytes it may have.

    Raises:
        UnsupportedMediaType: It is not declared as JSON.
        BodyTooLarge: It is over the limit.
        MalformedBody: It is not JSON.
        InvalidInput: It is JSON of another shape.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise UnsupportedMediaType("send the body with Content-Type: application/json")
    return parse(await read_limited(request, limit), model)


async def read_lines(request: Request, *, limit: int, most: int) -> list[bytes]:
    """Returns the lines of an NDJSON body that have anything on them.

    Raises:
        UnsupportedMediaType: It is not declared as NDJSON.
        BodyTooLarge: It is over the limit, or has more than `most` lines.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in NDJSON:
        raise UnsupportedMediaType("send the body with Content-Type: application/x-ndjson")
    body = await read_limited(request, limit)
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > most:
        raise BodyTooLarge(f"the batch has {len(lines)} rows; send at most {most} at a time")
    return lines


async def read_limited(request: Request, limit: int) -> bytes:
    """Returns the body, reading no further than the limit.

    Raises:
        BodyTooLarge: It is over the limit.
        MalformedBody: The client went away in the middle of it.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
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


def parse(body: bytes, model: type[M]) -> M:
    """Returns JSON bytes as a model.

    Raises:
        MalformedBody: They are not JSON.
        InvalidInput: They are JSON of another shape.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> ReclmError:
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return MalformedBody(f"the body is not JSON: {details[0]['msg']}")
    return invalid(details, root="body")


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limit} bytes, the most that this call takes")


def openapi_body(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    """Returns the part of an operation's OpenAPI that says what body it takes."""
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{model.__name__}"}
    if media_type != "application/json":
        schema = {"type": "string", "description": f"Lines, each a JSON {model.__name__}."}
    return {
        "requestBody": {"required": True, "content": {media_type: {"schema": schema}}},
    }
