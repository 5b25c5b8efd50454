"""Builds the requests, each together with the function that reads its answer. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from reclm_client.reading import Answer, raise_for_status, read
from reclm_client.schemas.event import Accepted, Event, EventsRequest
from reclm_client.schemas.fields import to_milliseconds
from reclm_client.schemas.health import Readiness
from reclm_client.schemas.item import Item, ItemBody, ItemText
from reclm_client.schemas.profile import ProfileRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reclm_client.retries import Repeat

T = TypeVar("T")

JSON = "application/json"

EVENTS_A_CALL = 1000
"""The most events that the service takes at a time."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how to read the answer; `parse` raises ReclmApiError for an error."""

    method: str
    path: str
    parse: Callable[[Answer], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    accept: str = JSON
    repeat: Repeat = "always"


def path_id(id: str) -> str:  # noqa: A002 - the field's name
    """Returns an id as one segment of a path.

    The ids "." and ".." are written out in full, or every URL library on the way would take them
    for a way up.
    """
    return id.replace(".", "%2E") if id in {".", ".."} else quote(id, safe="")


def encode(request: object) -> bytes:
    """Returns a request in compact JSON; members at a default that says nothing are left out.

    It is ASCII on one line, so that it also carries text that UTF-8 cannot hold: the service says
    what is wrong with it.

    Raises:
        TypeError: A string stands where a sequence of ids should.
    """
    for name in ("history", "candidates", "exclude"):
        if isinstance(getattr(request, name, None), str):
            raise TypeError(f"{name} is a string; give a sequence of item ids or Items")
    if isinstance(request, ProfileRequest) and isinstance(request.item, Item):
        request = replace(request, item=item_text(request.item))
    return json.dumps(request, separators=(",", ":"), default=_members).encode()


def _members(value: Any) -> object:  # noqa: ANN401 - whatever json cannot write itself
    if isinstance(value, datetime):
        return to_milliseconds(value)
    if isinstance(value, Item) and not value.id:
        value = item_text(value)
    members: dict[str, object] = {}
    for one in fields(value):
        given, default = (
            list(side) if isinstance(side, Iterable) and not isinstance(side, str) else side
            for side in (getattr(value, one.name), one.default)
        )
        if given is not None and (given or given != default):
            members[one.name] = given
    return members


def item_text(item: Item) -> ItemText:
    """Returns an item without its id, as it is sent where the path names it."""
    return ItemText(item.title, item.category, item.description)


def item_body(item: Item) -> ItemBody:
    """Returns what is known of an item, and what withdraws it, without its id."""
    return ItemBody(item.title, item.category, item.description, item.hidden, item.expires_at)


def into(type_: type[T]) -> Callable[[Answer], T]:
    """Returns what reads an answer as a wire schema, and raises the error that it stands for."""

    def parse(answer: Answer) -> T:
        raise_for_status(answer)
        return read(type_, answer.body)

    return parse


def event_calls(events: Iterable[Event]) -> list[Call[int]]:
    """Returns the calls that send events; each returns how many the service has taken.

    An event without a time gets one here, and not where it arrives: sent again it is the same one.
    """
    now = datetime.now(UTC)
    rows = [replace(event, timestamp=event.timestamp or now) for event in events]
    parse = into(Accepted)
    return [
        Call(
            "POST",
            "/interactions",
            lambda answer: parse(answer).events,
            body=encode(EventsRequest(rows[start : start + EVENTS_A_CALL])),
        )
        for start in range(0, len(rows), EVENTS_A_CALL)
    ]


def ready() -> Call[Readiness]:
    """Asks how the service is doing now: an unready one answers too, and nothing is repeated."""

    def parse(answer: Answer) -> Readiness:
        if answer.status != 503 or not answer.headers.get("content-type", "").startswith(JSON):
            raise_for_status(answer)
        return read(Readiness, answer.body)

    return Call("GET", "/readyz", parse, repeat="never")
