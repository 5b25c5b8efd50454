"""Interactions: what users did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import FailFast, Field, with_config

from reclm_client.schemas.fields import REQUEST, Id, Timestamp, read_as


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class Event:
    """One interaction: a user chose an item of the catalogue."""

    user_id: Id
    item_id: Id
    timestamp: Annotated[
        Timestamp | None,
        Field(
            description="RFC 3339, or Unix milliseconds; the time of arrival by default. The same "
            "user, item and time are the same event, however often they are sent."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses a time that depends on where it is read."""
        if self.timestamp is not None and self.timestamp.tzinfo is None:
            raise ValueError(f"{self.timestamp} has no time zone; give one, such as datetime.UTC")


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class EventsRequest:
    """What users did, recorded whole or not at all."""

    events: Annotated[
        Sequence[Event],
        read_as(Annotated[list[Event], FailFast(), Field(min_length=1, max_length=1000)]),
    ]


@dataclass(frozen=True, slots=True)
class Accepted:
    """How many events were taken, and of how many users; those known before count too.

    Attributes:
        left_out: Events from before an erasure of their user, which are not taken.
    """

    events: int
    users: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Interactions:
    """What is known of a user, oldest first."""

    user_id: str
    events: tuple[Event, ...]
