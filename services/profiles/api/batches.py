"""Answers the rows of a batch: many at a time, in the order they came, each for itself."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError, with_config

from reclm_client.schemas import adapter
from services.profiles.api.bodies import NDJSON
from services.profiles.api.problems import problem_of
from services.profiles.api.shape import check_json
from services.profiles.errors import BodyTooLarge, Overloaded, ReclmError
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from reclm_client.schemas.batch import ItemLine
    from services.profiles.parts import Parts

    IdMember = Literal["id", "user_id"]
    Answer = Callable[[bytes], Awaitable[Mapping[str, Any]]]

_WINDOW = 128
"""Rows of one batch under way at a time."""

_PATIENCE = 60
"""How often a row waits for room when the service is full, at most."""


class NdjsonDocumented(JSONResponse):
    """Has FastAPI document a batch's answer by the schema of its lines; nothing answers with it."""

    media_type = NDJSON


def answer_rows(
    parts: Parts,
    lines: Sequence[bytes],
    answer: Answer,
    *,
    line: type[ItemLine],
    id_member: IdMember = "id",
    row_bytes: int | None = None,
) -> StreamingResponse:
    """Returns a response with a line for each row, in order.

    Args:
        parts: Of the service.
        lines: The rows, each a JSON document.
        answer: Returns the members that a row's line has besides those of every line.
        line: What a line of the response is.
        id_member: What a row gives its id as.
        row_bytes: The most that a row may have; by default, what a single request may.

    Raises:
        BodyTooLarge: There are more rows than the settings allow.
    """
    most = parts.settings.max_batch_rows
    if len(lines) > most:
        raise BodyTooLarge(f"the batch has {len(lines)} rows; send at most {most} at a time")
    if row_bytes is None:
        row_bytes = parts.settings.max_body_bytes
    rows = _Rows(parts, answer, line, id_member, row_bytes)
    return StreamingResponse(rows.stream(lines), media_type=NDJSON)


class _Rows:
    def __init__(
        self,
        parts: Parts,
        answer: Answer,
        line: type[ItemLine],
        id_member: IdMember,
        row_bytes: int,
    ) -> None:
        self._limit = row_bytes
        self._turns = parts.turns
        self._errors = parts.metrics.errors
        self._answer = answer
        self._line = line
        self._id_member = id_member

    async def stream(self, lines: Sequence[bytes]) -> AsyncIterator[bytes]:
        """Yields a line for each row."""
        window: deque[asyncio.Task[bytes]] = deque()
        try:
            for row, line in enumerate(lines):
                if len(window) == _WINDOW:
                    yield await window.popleft()
                window.append(asyncio.create_task(self._row(row, line)))
            while window:
                yield await window.popleft()
        finally:
            for task in window:
                task.cancel()

    async def _row(self, row: int, line: bytes) -> bytes:
        try:
            if len(line) > self._limit:
                raise BodyTooLarge(
                    f"the row is over {self._limit} bytes, the most that one may have"
                )
            await self._turns.take()
            check_json(line)
            members = await self._patiently(line)
            await self._turns.take()
            answered = self._line(row, _id_of(line, self._id_member), 200, **members)
        except BodyTooLarge as error:
            answered = self._failed(row, None, error)  # read no further for its id
        except ReclmError as error:
            await self._turns.take()
            answered = self._failed(row, _id_of(line, self._id_member), error)
        except Exception:  # noqa: BLE001 - logged, counted, and reported in the row's place
            # One bad row never costs another: a bug in one is reported in its place.
            LOGGER.exception("unexpected error in a batch row")
            bug = _Bug("an error of this service; its log has it under request_id")
            answered = self._failed(row, _id_of(line, self._id_member), bug)
        return adapter(self._line).dump_json(answered) + b"\n"

    def _failed(self, row: int, id_: str | None, error: ReclmError) -> ItemLine:
        self._errors.labels(error.code).inc()
        problem = problem_of(error)
        return self._line(row, id_, problem.status, problem)

    async def _patiently(self, line: bytes) -> Mapping[str, Any]:
        """Waits while the service is full: a batch has time, and its rows are here already."""
        for _ in range(_PATIENCE):
            try:
                return await self._answer(line)
            except Overloaded as error:
                await asyncio.sleep(error.retry_after or 1.0)
        return await self._answer(line)


class _Bug(ReclmError):
    """Stands for an exception that nobody expected."""


@with_config({"extra": "ignore"})
@dataclass(frozen=True, slots=True)
class _Named:
    """What is looked for in a row, and made a Python object of, whatever else is in it."""

    id: object = None
    user_id: object = None


def _id_of(line: bytes, member: IdMember) -> str | None:
    """Returns the id that a row gives, whatever else is wrong with it."""
    try:
        id_ = getattr(adapter(_Named).validate_json(line), member)
    except ValidationError:
        return None
    return id_ if isinstance(id_, str) and len(id_) <= 256 else None
