"""Answers the rows of a batch: many at a time, in the order they came, each for itself."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from services.profiles.api.problems import document
from services.profiles.errors import BodyTooLarge, Overloaded, ReclmError
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from services.profiles.telemetry import Metrics

_WINDOW = 128
"""Rows of one batch under way at a time."""

_PATIENCE = 60
"""How often a row waits for room when the service is full, at most."""


async def stream_rows(
    lines: Sequence[bytes],
    answer: Callable[[bytes], Awaitable[bytes]],
    metrics: Metrics,
    *,
    limit: int,
    id_member: str = "id",
) -> AsyncIterator[bytes]:
    """Yields a line for each row, in order.

    Args:
        lines: The rows, each a JSON document.
        answer: Returns the members to add to a row's line, each after a comma.
        metrics: Where failed rows are counted.
        limit: Most bytes of a row.
        id_member: What a row gives its id as.
    """
    window: deque[asyncio.Task[bytes]] = deque()
    try:
        for row, line in enumerate(lines):
            if len(window) == _WINDOW:
                yield await window.popleft()
            window.append(
                asyncio.create_task(
                    _row(row, line, answer, metrics, limit=limit, id_member=id_member)
                )
            )
        while window:
            yield await window.popleft()
    finally:
        for task in window:
            task.cancel()


async def _row(
    row: int,
    line: bytes,
    answer: Callable[[bytes], Awaitable[bytes]],
    metrics: Metrics,
    *,
    limit: int,
    id_member: str,
) -> bytes:
    fits = len(line) <= limit
    id_ = _id_of(line, id_member) if fits else None
    head = b'{"row":%d,"id":%s,"status_code":' % (row, to_json(id_))
    try:
        if not fits:
            raise BodyTooLarge(f"the row is over {limit} bytes, the most that one may have")
        return head + b"200" + await _patiently(line, answer) + b"}\n"
    except ReclmError as error:
        metrics.errors.labels(error.code).inc()
        problem = document(error)
    except Exception:  # noqa: BLE001 - logged, counted, and reported in the row's place
        # One bad row never costs another: a bug in one is reported in its place.
        LOGGER.exception("unexpected error in a batch row")
        metrics.errors.labels("internal").inc()
        problem = document(_Bug("an error of this service; its log has it under request_id"))
    return head + b'%d,"error":%s}\n' % (problem["status"], to_json(problem))


class _Bug(ReclmError):
    """Stands for an exception that nobody expected."""


async def _patiently(line: bytes, answer: Callable[[bytes], Awaitable[bytes]]) -> bytes:
    """Waits while the service is full: a batch has time, and its rows are here already."""
    for _ in range(_PATIENCE):
        try:
            return await answer(line)
        except Overloaded as error:
            await asyncio.sleep(error.retry_after or 1.0)
    return await answer(line)


def _id_of(line: bytes, member: str) -> str | None:
    """Returns the id that a row gives, whatever else is wrong with it."""
    try:
        body = from_json(line)
    except ValueError:
        return None
    id_ = body.get(member) if isinstance(body, dict) else None
    return id_ if isinstance(id_, str) and len(id_) <= 256 else None
