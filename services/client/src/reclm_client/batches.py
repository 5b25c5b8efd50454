"""Batches as NDJSON: rows into chunks, and answers out of bytes that split anywhere. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from reclm_client.calls import encode
from reclm_client.errors import ConnectionFailed, MalformedAnswer
from reclm_client.reading import problem_error, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reclm_client.retries import Repeat
    from reclm_client.schemas.batch import ItemLine

R = TypeVar("R")

NDJSON = "application/x-ndjson"
MAX_CHUNK_BYTES = 8 * 1024 * 1024
"""Well under what the service takes, so that rows with long histories travel in more chunks."""


class Line:
    """A row ready to be sent, and when it may be sent again; one that generates anew is not sent twice."""

    def __init__(self, row: object) -> None:
        self.body = encode(row)
        self.repeat: Repeat = "unprocessed" if getattr(row, "refresh", False) else "always"


@dataclass(frozen=True, slots=True)
class Batch(Generic[R]):
    """A batch call: where it goes, and how its answers are read.

    Attributes:
        line: The schema of a line of the answer.
        result: Makes what callers get, of the row's number, id, status, result if any, and error.
        member: The line's member with the result; none for calls that give nothing back.
    """

    path: str
    line: type[ItemLine]
    result: Callable[..., R]
    member: str | None = None

    def read(self, line: ItemLine, row: int) -> R:
        """Returns the result of a line; `row` counts over the whole batch."""
        found = () if self.member is None else (getattr(line, self.member),)
        error = None
        if not 200 <= line.status_code < 300 or None in found:
            if line.error is None:
                raise MalformedAnswer(f"row {line.row} has neither a result nor an error")
            error = problem_error(line.error, line.status_code, line.error.retry_after)
        return self.result(row, line.id, line.status_code, *found, error)


class Chunk(Generic[R]):
    """Rows that travel together, and how far their answers have come."""

    def __init__(self, lines: Sequence[Line], first: int, batch: Batch[R]) -> None:
        self.path = batch.path
        self._lines = lines
        self._first = first
        self._batch = batch
        self._answered = 0
        self._sent_from = 0
        self._buffer = b""

    @property
    def repeat(self) -> Repeat:
        """When the rows without an answer may be sent again."""
        left = self._lines[self._answered :]
        return "always" if all(line.repeat == "always" for line in left) else "unprocessed"

    def request(self) -> bytes:
        """Begins a try: returns the body with the rows that have no answer yet."""
        self._sent_from = self._answered
        self._buffer = b""
        return b"".join(line.body + b"\n" for line in self._lines[self._answered :])

    def feed(self, data: bytes) -> list[R]:
        """Takes the next bytes of the answer and returns the rows that they complete."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [self._answer(line) for line in lines if line.strip()]

    def end(self) -> None:
        """Takes the end of the answer; a last line without a line feed counts as cut.

        Raises:
            ConnectionFailed: Rows are left without an answer.
        """
        if missing := len(self._lines) - self._answered:
            raise ConnectionFailed(f"the answer ended {missing} row(s) early", sent=True)

    def _answer(self, line: bytes) -> R:
        if self._answered == len(self._lines):
            raise MalformedAnswer("the answer has more rows than were sent")
        document = read(self._batch.line, line)
        expected = self._answered - self._sent_from
        if document.row != expected:
            raise MalformedAnswer(f"row {document.row} came where {expected} was due")
        row = self._batch.read(document, self._first + self._answered)
        self._answered += 1
        return row
