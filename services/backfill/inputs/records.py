"""Records of CSV one by one, each with its lines: for what is malformed, and for reports.

A stray quote makes everything up to the next one look like one field. So a record that is wrong
costs its first line alone, and the lines after it are read as if it had ended there.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from services.backfill.inputs.files import MAX_LINE


@dataclass(frozen=True, slots=True)
class Record:
    """A record, or a line that is none, in which case `fault` says why and `fields` is empty."""

    line: int
    raw: str
    fields: tuple[bytes, ...]
    fault: str | None = None


class _Feed:
    """Lines for a csv.reader, which may be set back."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.at == len(self.lines):
            raise StopIteration
        self.at += 1
        return self.lines[self.at - 1]


def split_records(
    data: bytes, first: int, *, delimiter: str, width: int | None, final: bool
) -> tuple[list[Record], int]:
    """Splits lines into records; empty lines are left out.

    Args:
        data: The lines.
        first: The number of the first one.
        delimiter: What is between fields.
        width: How many fields a record has, None for any number.
        final: Nothing follows; otherwise a record that has not ended is left for later, unless
            it is too long already.

    Returns:
        The records and the lines that are none, in order, and how many bytes are left.
    """
    # The limit is the process's, and 128 KiB unless set.
    csv.field_size_limit(2 * MAX_LINE)
    text = data.decode("utf-8", "surrogateescape")
    feed = _Feed([line + "\n" for line in text.split("\n")])
    last = feed.lines.pop()[:-1]
    if last:
        feed.lines.append(last)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    records: list[Record] = []
    while feed.at < len(feed.lines):
        begin = feed.at
        try:
            fields = next(reader)
            fault = _fault(fields, width)
        except StopIteration:
            break
        except csv.Error as error:
            ended = feed.at == len(feed.lines) and "unexpected end" in str(error)
            left = sum(len(_bytes(line)) for line in feed.lines[begin:]) if ended else 0
            if ended and not final and left <= MAX_LINE:
                return records, left
            fields, fault = [], f"not CSV: {error}"
        if fault is None and not fields:
            continue
        if fault is not None:
            feed.at = begin + 1
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            fields = []
        raw = "".join(feed.lines[begin : feed.at])
        records.append(Record(first + begin, _readable(raw), tuple(map(_bytes, fields)), fault))
    return records, 0


def _fault(fields: list[str], width: int | None) -> str | None:
    if width is None or not fields or len(fields) == width:
        return None
    return f"{len(fields)} values for {width} columns"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _readable(text: str) -> str:
    return _bytes(text).decode("utf-8", "replace")
