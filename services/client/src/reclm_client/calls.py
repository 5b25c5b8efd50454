"""Builds the requests, each together with the function that reads its answer. No I/O."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

from reclm_client import reading, reading_scores
from reclm_client.reading import Answer, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reclm_client.results import (
        ActiveScorer,
        Event,
        Item,
        Kind,
        Profile,
        ProfileRequest,
        Readiness,
        Score,
        Scorer,
        ScoreRequest,
    )
    from reclm_client.retries import Repeat

T = TypeVar("T")

JSON = "application/json"

EVENTS_A_CALL = 1000
"""The most events that the service takes at a time."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


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


def profile_body(request: ProfileRequest) -> dict[str, object]:
    """Returns the JSON document that asks for a profile; what is at its default stays out."""
    body: dict[str, object] = {"id": request.id}
    if request.history:
        body["history"] = _history(request.history)
    if request.item is not None:
        body["item"] = {key: text for key, text in item_body(request.item).items() if key != "id"}
    for name in ("refresh", "embedding", "background"):
        if getattr(request, name):
            body[name] = True
    for name in ("max_age_s", "deadline_ms"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    return body


def score_body(request: ScoreRequest) -> dict[str, object]:
    """Returns the JSON document that asks for a ranking; what was not given stays out."""
    body: dict[str, object] = {}
    if request.history:
        body["history"] = _history(request.history)
    for name in ("candidates", "exclude"):
        if isinstance(ids := getattr(request, name), str):
            raise TypeError(f"{name} is a string; give a sequence of item ids")
        if ids or (ids is not None and name == "candidates"):
            body[name] = list(ids)
    for name in ("user_id", "deadline_ms"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    return {**body, "k": request.k, "reasons": request.reasons}


def _history(history: Sequence[str | Item]) -> list[str | dict[str, str]]:
    if isinstance(history, str):
        raise TypeError("history is a string; give a sequence of item ids or Items")
    return [entry if isinstance(entry, str) else item_body(entry) for entry in history]


def item_body(item: Item) -> dict[str, str]:
    """Returns the JSON document of an item; what is empty stays out, but for the title."""
    return {key: text for key, text in asdict(item).items() if text or key == "title"}


def encode(document: object) -> bytes:
    """Returns compact JSON in ASCII: on one line, and also for text that UTF-8 cannot hold."""
    return json.dumps(document, separators=(",", ":")).encode()


def profile(kind: Kind, request: ProfileRequest) -> Call[Profile]:
    """Gets a profile, or has it generated. Without `refresh`, asking twice is asking once."""
    return Call(
        "POST",
        f"/profiles/{kind}",
        lambda answer: reading.read_profile(_document(answer)),
        body=encode(profile_body(request)),
        repeat="unprocessed" if request.refresh else "always",
    )


def get_profile(kind: Kind, id: str, *, embedding: bool) -> Call[Profile]:  # noqa: A002
    """Reads a stored profile."""
    return Call(
        "GET",
        f"/profiles/{kind}/{path_id(id)}",
        lambda answer: reading.read_profile(_document(answer)),
        query={"embedding": "true"} if embedding else {},
    )


def delete_profile(kind: Kind, id: str) -> Call[None]:  # noqa: A002 - the field's name
    """Erases a profile."""
    return Call("DELETE", f"/profiles/{kind}/{path_id(id)}", _nothing)


def put_item(item: Item) -> Call[Item]:
    """Adds or replaces an item of the catalogue."""
    body = {key: text for key, text in item_body(item).items() if key != "id"}
    return Call(
        "PUT",
        f"/items/{path_id(item.id)}",
        lambda answer: reading.read_item(_document(answer)),
        body=encode(body),
    )


def get_item(id: str) -> Call[Item]:  # noqa: A002 - the field's name
    """Reads an item of the catalogue."""
    return Call("GET", f"/items/{path_id(id)}", lambda answer: reading.read_item(_document(answer)))


def delete_item(id: str) -> Call[None]:  # noqa: A002 - the field's name
    """Removes an item from the catalogue."""
    return Call("DELETE", f"/items/{path_id(id)}", _nothing)


def item_page(
    query: str, cursor: str | None, limit: int
) -> Call[tuple[tuple[Item, ...], str | None]]:
    """Reads a page of the catalogue."""
    parameters = {"q": query, "cursor": cursor, "limit": str(limit)}
    return Call(
        "GET",
        "/items",
        lambda answer: reading.read_item_page(_document(answer)),
        query={name: value for name, value in parameters.items() if value},
    )


def score(request: ScoreRequest) -> Call[Score]:
    """Ranks items for a user."""
    return Call(
        "POST",
        "/score",
        lambda answer: reading_scores.read_score(_document(answer)),
        body=encode(score_body(request)),
    )


def scorers() -> Call[tuple[Scorer, ...]]:
    """Lists the scorers."""
    return Call(
        "GET",
        "/admin/scorers",
        lambda answer: reading_scores.read_scorers(_document(answer)),
    )


def activate_scorer(name: str) -> Call[ActiveScorer]:
    """Makes a scorer the active one."""
    return Call(
        "POST",
        f"/admin/scorers/{path_id(name)}/activate",
        lambda answer: reading_scores.read_active_scorer(_document(answer)),
    )


def roll_back_scorer() -> Call[ActiveScorer]:
    """Goes back to the scorer before; repeated, it would come back again, so it never is."""
    return Call(
        "POST",
        "/admin/scorers/rollback",
        lambda answer: reading_scores.read_active_scorer(_document(answer)),
        repeat="never",
    )


def event_calls(events: Iterable[Event]) -> list[Call[int]]:
    """Returns the calls that tell of events; each returns how many the service has taken.

    An event without a time gets one here, and not where it arrives: sent again it is the same one.
    """
    now = datetime.now(UTC)
    rows = [
        {
            "user_id": event.user_id,
            "item_id": event.item_id,
            "timestamp": ((event.at or now) - _EPOCH) // _MILLISECOND,
        }
        for event in events
    ]
    return [
        Call(
            "POST",
            "/interactions",
            lambda answer: reading.read_accepted(_document(answer)),
            body=encode({"events": rows[start : start + EVENTS_A_CALL]}),
        )
        for start in range(0, len(rows), EVENTS_A_CALL)
    ]


def interactions(user_id: str) -> Call[tuple[Event, ...]]:
    """Reads what the service knows of a user."""
    return Call(
        "GET",
        f"/interactions/{path_id(user_id)}",
        lambda answer: reading.read_events(_document(answer)),
    )


def ready() -> Call[Readiness]:
    """Asks how the service is doing now: an unready one answers too, and nothing is repeated."""

    def parse(answer: Answer) -> Readiness:
        if answer.status == 503 and answer.headers.get("content-type", "").startswith(JSON):
            return reading.read_readiness(parse_object(answer.body))
        return reading.read_readiness(_document(answer))

    return Call("GET", "/readyz", parse, repeat="never")


def raise_for_status(answer: Answer) -> None:
    """Raises the ReclmApiError that an answer stands for, unless it is a success."""
    if not 200 <= answer.status < 300:
        raise reading.api_error(answer)


def _document(answer: Answer) -> reading.Document:
    raise_for_status(answer)
    return parse_object(answer.body)


def _nothing(answer: Answer) -> None:
    raise_for_status(answer)
