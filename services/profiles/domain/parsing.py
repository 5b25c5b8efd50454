"""JSON into wire schemas, and what pydantic finds wrong as this service's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from reclm_client.schemas import adapter
from services.profiles.errors import InvalidInput, MalformedBody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

T = TypeVar("T")

_MAX_FINDINGS = 20
_MAX_DETAILS = 100
"""Faults up to which pydantic is asked for them: it describes all or none, in 5 us each."""
_REASONS = {"unexpected_keyword_argument": "Extra inputs are not permitted"}
"""What pydantic says of dataclasses in the words of Python calls."""


def parse(body: bytes, schema: type[T]) -> T:
    """Returns JSON bytes as a wire schema.

    Raises:
        MalformedBody: They are not JSON.
        InvalidInput: They are JSON of another shape.
    """
    try:
        return adapter(schema).validate_json(body)
    except ValidationError as error:
        if error.error_count() > _MAX_DETAILS:
            raise InvalidInput(
                f"body: {error.error_count()} members are unknown or wrong; /docs has those that "
                "this call takes"
            ) from error
        details = error.errors(include_url=False, include_input=False)
        if details[0]["type"] == "json_invalid":
            raise MalformedBody(f"the body is not JSON: {details[0]['msg']}") from error
        raise invalid(details, root="body") from error


def invalid(details: Sequence[ErrorDetails], *, root: str) -> InvalidInput:
    """Returns what pydantic found as an error that names members and not values."""
    findings = [
        {
            "where": ".".join([root, *map(str, detail["loc"])]),
            "why": _REASONS.get(detail["type"], detail["msg"]),
        }
        for detail in details[:_MAX_FINDINGS]
    ]
    first = f"{findings[0]['where']}: {findings[0]['why']}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return InvalidInput(first + more, errors=findings)
