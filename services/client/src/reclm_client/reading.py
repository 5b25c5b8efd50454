"""Reads what the service answers: bytes in, values out, MalformedAnswer for anything else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast, get_args

from reclm_client.errors import MalformedAnswer, ReclmApiError, api_error_type
from reclm_client.results import (
    Component,
    Dependency,
    Event,
    Item,
    ItemRow,
    Kind,
    Profile,
    ProfileRow,
    ProfileVersion,
    Readiness,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = Mapping[str, object]
Scalar = TypeVar("Scalar", str, int, bool)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, whole. `headers` ignores case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_object(raw: bytes) -> Document:
    """Reads a JSON object."""
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise MalformedAnswer(f"the answer is not JSON: {error}") from error
    return object_(document, "the answer")


def api_error(answer: Answer) -> ReclmApiError:
    """Returns what an answer with an error status means."""
    content_type = answer.headers.get("content-type", "")
    retry_after = _seconds(answer.headers.get("retry-after"))
    if content_type.partition(";")[0].strip() == "application/problem+json":
        return problem_error(parse_object(answer.body), answer.status, retry_after)
    return api_error_type(answer.status)(
        answer.status,
        f"http-{answer.status}",
        f"an answer without a problem document, of type {content_type or 'unknown'}; "
        "check that the base URL is the service's and what stands between",
        {},
        retry_after,
    )


def problem_error(problem: Document, status: int, retry_after: float | None) -> ReclmApiError:
    """Returns what a problem document means."""
    detail = problem.get("detail") or problem.get("title") or "no detail given"
    code = problem.get("code") or f"http-{status}"
    return api_error_type(status)(status, str(code), str(detail), problem, retry_after)


def read_profile(document: Document) -> Profile:
    """Reads a profile."""
    embedding = document.get("embedding")
    return Profile(
        status=cast("Status", one_of(document, "status", get_args(Status))),
        kind=cast("Kind", one_of(document, "kind", get_args(Kind))),
        id=member(document, "id", str),
        identities=strings(document, "identities"),
        interests=strings(document, "interests"),
        text=member(document, "text", str),
        input_hash=member(document, "input_hash", str),
        created_at=_time(document, "created_at"),
        version=_version(document),
        embedding=None if embedding is None else numbers(embedding, "embedding"),
    )


def read_profile_row(document: Document, row: int) -> ProfileRow:
    """Reads a line of an answer to a batch of profiles; `row` counts over the whole batch."""
    status = member(document, "status_code", int)
    if 200 <= status < 300:
        profile = read_profile(object_(document.get("profile"), "profile"))
        return ProfileRow(row, profile.id, status, profile, None)
    return ProfileRow(row, _row_id(document), status, None, row_error(document, status))


def read_item_row(document: Document, row: int) -> ItemRow:
    """Reads a line of an answer to a batch of items; `row` counts over the whole batch."""
    status = member(document, "status_code", int)
    error = None if 200 <= status < 300 else row_error(document, status)
    return ItemRow(row, _row_id(document), status, error)


def read_item(document: Document) -> Item:
    """Reads an item of the catalogue."""
    return Item(
        id=member(document, "id", str),
        title=member(document, "title", str),
        category=member(document, "category", str),
        description=member(document, "description", str),
    )


def read_item_page(document: Document) -> tuple[tuple[Item, ...], str | None]:
    """Reads a page of the catalogue and the cursor of the next one."""
    items = tuple(read_item(object_(item, "items")) for item in list_(document, "items"))
    cursor = document.get("cursor")
    return items, None if cursor is None else member(document, "cursor", str)


def read_accepted(document: Document) -> int:
    """Reads how many events were taken."""
    return member(document, "events", int)


def read_events(document: Document) -> tuple[Event, ...]:
    """Reads what is known of a user."""
    user_id = member(document, "user_id", str)
    rows = [object_(row, "events") for row in list_(document, "events")]
    return tuple(
        Event(user_id, member(row, "item_id", str), _time(row, "timestamp")) for row in rows
    )


def read_readiness(document: Document) -> Readiness:
    """Reads the readiness of the service and its dependencies."""
    dependencies = {}
    for name, value in object_(document.get("dependencies"), "dependencies").items():
        part = object_(value, f"dependencies.{name}")
        error = part.get("error")
        (latency,) = numbers([part.get("latency_ms")], f"dependencies.{name}.latency_ms")
        dependencies[name] = Dependency(
            status="up" if one_of(part, "status", ("up", "down")) == "up" else "down",
            latency_ms=latency,
            error=None if error is None else str(error),
        )
    status = one_of(document, "status", ("ready", "degraded", "unready"))
    return Readiness(status, dependencies, _version(document))  # type: ignore[arg-type]  # one of the three, as checked


def _seconds(header: str | None) -> float | None:
    # An HTTP date is allowed too; nothing between us and the service sends one, and without it
    # the backoff alone decides.
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _row_id(document: Document) -> str | None:
    return None if document.get("id") is None else member(document, "id", str)


def row_error(document: Document, status: int) -> ReclmApiError:
    """Returns what a row's problem document means."""
    problem = object_(document.get("error"), "error")
    retry_after = problem.get("retry_after")
    return problem_error(
        problem, status, _seconds(None if retry_after is None else str(retry_after))
    )


def object_(value: object, where: str) -> Document:
    """Returns a value that has to be an object."""
    if not isinstance(value, dict):
        raise MalformedAnswer(f"{where} is {type(value).__name__}, not an object")
    return cast("Document", value)


def member(document: Document, name: str, kind: type[Scalar]) -> Scalar:
    """Returns a member that has to be there, and of a type."""
    value = document.get(name)
    if not isinstance(value, kind):
        raise MalformedAnswer(f"{name!r} is {type(value).__name__}, not {kind.__name__}")
    return value


def one_of(document: Document, name: str, choices: Sequence[str]) -> str:
    """Returns a member that has to be one of a few strings."""
    value = member(document, name, str)
    if value not in choices:
        raise MalformedAnswer(f"{name!r} is {value!r}, none of {', '.join(choices)}")
    return value


def list_(document: Document, name: str) -> list[object]:
    """Returns a member that has to be a list."""
    value = document.get(name)
    if not isinstance(value, list):
        raise MalformedAnswer(f"{name!r} is {type(value).__name__}, not a list")
    return value


def strings(document: Document, name: str) -> tuple[str, ...]:
    """Returns a member that has to be a list of strings."""
    values = list_(document, name)
    if not all(isinstance(value, str) for value in values):
        raise MalformedAnswer(f"{name!r} holds something other than strings")
    return tuple(cast("list[str]", values))


def numbers(values: object, where: str) -> tuple[float, ...]:
    """Returns a value that has to be a list of numbers."""
    if not isinstance(values, list):
        raise MalformedAnswer(f"{where} is {type(values).__name__}, not a list")
    if not all(isinstance(value, int | float) for value in values):
        raise MalformedAnswer(f"{where} holds something other than numbers")
    return tuple(float(value) for value in values)


def _version(document: Document) -> ProfileVersion:
    version = object_(document.get("version"), "version")
    adapter = version.get("adapter")
    return ProfileVersion(
        base_model=_component(version.get("base_model"), "version.base_model"),
        adapter=None if adapter is None else _component(adapter, "version.adapter"),
        prompt=_component(version.get("prompt"), "version.prompt"),
        encoder=_component(version.get("encoder"), "version.encoder"),
    )


def _component(value: object, where: str) -> Component:
    part = object_(value, where)
    return Component(member(part, "name", str), member(part, "hash", str))


def _time(document: Document, name: str) -> datetime:
    value = member(document, name, str)
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise MalformedAnswer(f"{name!r} is {value!r}, not a time") from error
