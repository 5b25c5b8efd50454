"""What the fields of the wire schemas have in common: ids, texts, times, and how strict a body is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    StringConstraints,
)

REQUEST = ConfigDict(extra="forbid", strict=True, json_schema_serialization_defaults_required=True)
"""For the bodies of requests: no unknown members, no conversions."""

NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""Control characters are refused wherever a person or a program names something."""

Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    Field(description="An id of your own: any characters but control characters."),
]
Title = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=NO_CONTROLS)]
Category = Annotated[
    str,
    StringConstraints(max_length=256, pattern=NO_CONTROLS),
    Field(description="One or more names, separated by commas, the most specific first."),
]
Description = Annotated[
    str,
    StringConstraints(max_length=8192, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"),
    Field(description="May have line breaks and tabs."),
]

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


def read_as(type_: object) -> GetPydanticSchema:
    """Has pydantic read and write a field as another type than the one that callers see."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(type_))


def is_none(value: object) -> bool:
    """Says whether to leave an optional member out of an answer."""
    return value is None


def from_milliseconds(milliseconds: int) -> datetime:
    """Returns a Unix time in milliseconds as a datetime in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def to_milliseconds(moment: datetime) -> int:
    """Returns a time as Unix milliseconds; what is below a millisecond is cut off."""
    return (moment - _EPOCH) // _MILLISECOND


def _moment(stated: int | str) -> datetime:
    try:
        at = (
            from_milliseconds(stated) if isinstance(stated, int) else datetime.fromisoformat(stated)
        )
        milliseconds = to_milliseconds(at)
    except (ValueError, OverflowError) as error:
        raise ValueError("there is no such time") from error
    if milliseconds < 0:
        raise ValueError("before 1970")
    return from_milliseconds(milliseconds)


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_RFC_3339 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)
"""RFC 3339, section 5.6, with a `T` and a `Z` in capitals."""

Timestamp = Annotated[
    datetime,
    read_as(
        Annotated[
            Annotated[int, Field(ge=0, lt=2**48)]
            | Annotated[str, StringConstraints(pattern=_RFC_3339)],
            AfterValidator(_moment),
            PlainSerializer(_shown, return_type=str),
        ]
    ),
]
"""A time with its zone, to the millisecond: RFC 3339 or Unix milliseconds in, RFC 3339 out."""
