"""Batches as NDJSON: rows into chunks, and answers out of bytes that split anywhere. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from reclm_client.calls import encode, item_body, profile_body, score_body
from reclm_client.errors import ConnectionFailed, MalformedAnswer
from reclm_client.reading import Document, parse_object, read_item_row, read_profile_row
from reclm_client.reading_scores import read_score_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from reclm_client.results import (
        Item,
        ItemRow,
        Kind,
        ProfileRequest,
        ProfileRow,
        ScoreRequest,
        ScoreRow,
    )
    from reclm_client.retries import Repeat

R = TypeVar("R")
Row = TypeVar("Row")

NDJSON = "application/x-ndjson"
MAX_CHUNK_BYTES = 8 * 1024 * 1024
"""Well under what the service takes, so that rows with long histories travel in more chunks."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row ready to be sent, and when it may be sent again."""

    body: bytes
    repeat: Repeat


@dataclass(frozen=True, slots=True)
class Batch(Generic[Row, R]):
    """A batch call: where it goes, how a row is written and its answer read."""

    path: str
    write: Callable[[Row], Line]
    read: Callable[[Document, int], R]


def profiles(kind: Kind) -> Batch[ProfileRequest, ProfileRow]:
    """Gets or generates many profiles."""

    def write(request: ProfileRequest) -> Line:
        repeat: Repeat = "unprocessed" if request.refresh else "always"
        return Line(encode(profile_body(request)), repeat)

    return Batch(f"/profiles/{kind}:batch", write, read_profile_row)


def items() -> Batch[Item, ItemRow]:
    """Adds or replaces many items of the catalogue."""
    return Batch(
        "/items:batch", lambda item: Line(encode(item_body(item)), "always"), read_item_row
    )


def scores() -> Batch[ScoreRequest, ScoreRow]:
    """Ranks items for many users."""
    return Batch(
        "/score:batch",
        lambda request: Line(encode(score_body(request)), "always"),
        read_score_row,
    )


class Chunk(Generic[R]):
    """Rows that travel together, and how far their answers have come."""

    def __init__(self, lines: list[Line], first: int, read: Callable[[Document, int], R]) -> None:
        self._lines = lines
        self._first = first
        self._read = read
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
        document = parse_object(line)
        expected = self._answered - self._sent_from
        if document.get("row") != expected:
            raise MalformedAnswer(f"row {document.get('row')} came where {expected} was due")
        row = self._read(document, self._first + self._answered)
        self._answered += 1
        return row


class Chunker(Generic[Row, R]):
    """Gathers rows into chunks of bounded number and size."""

    def __init__(self, batch: Batch[Row, R], *, max_rows: int) -> None:
        if max_rows < 1:
            raise ValueError(f"a chunk has at least one row, not {max_rows}")
        self._batch = batch
        self._max_rows = max_rows
        self._lines: list[Line] = []
        self._bytes = 0
        self._first = 0

    def add(self, row: Row) -> Chunk[R] | None:
        """Adds a row; returns the chunk before it where that is full."""
        line = self._batch.write(row)
        full = None
        if len(self._lines) == self._max_rows or self._bytes + len(line.body) > MAX_CHUNK_BYTES:
            full = self.rest()
        self._lines.append(line)
        self._bytes += len(line.body)
        return full

    def rest(self) -> Chunk[R] | None:
        """Returns the rows gathered so far, None if there are none."""
        if not self._lines:
            return None
        chunk = Chunk(self._lines, self._first, self._batch.read)
        self._first += len(self._lines)
        self._lines, self._bytes = [], 0
        return chunk
