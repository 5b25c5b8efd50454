"""The wire schemas, written once: the service, this client and OpenAPI all use them.

They are plain frozen dataclasses with pydantic's annotations. What is made in Python is not
checked; what is read from the wire is, by the client or by FastAPI. Why they are in the client's
distribution: docs/decisions/0016-wire-schema.md.
"""

from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_MADE: dict[Any, TypeAdapter[Any]] = {}


def adapter(type_: type[T]) -> TypeAdapter[T]:
    """Returns what reads and writes a schema; it is made with the first call."""
    if type_ not in _MADE:
        _MADE[type_] = TypeAdapter(type_)
    return _MADE[type_]
