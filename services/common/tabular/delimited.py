"""CSV and its relatives: Arrow parses the records that are plainly well-formed, the csv module all others.

Arrow is fast, but gives up on a whole file for one bad byte and names no lines. So records that are
malformed, or are to be shown, are parsed one by one. There, a malformed one costs its first line alone,
and the lines after it are read as if it had ended: a stray quote must not swallow all up to the next one.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pcsv

from services.common.tabular.blocks import BadRow, Block, SourceRow, TabularError
from services.common.tabular.files import MAX_LINE, bad_line, line_blocks, shown

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from services.common.tabular.blocks import Columns
    from services.common.tabular.files import Source

_SEPARATOR = "\x1f"
"""Stands for delimiters of several characters, which neither parser knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a file separates its columns.

    Attributes:
        delimiter: One character or more, such as the `::` of `1::1193::5::978300760`.
        quotes: Whether double quotes enclose a field; else they are part of it.
        columns: The names of all columns of a file without a header.
        typed: Whether the header adds a type to each name, as in `title:token_seq`.
    """

    delimiter: str
    quotes: bool = True
    columns: tuple[str, ...] | None = None
    typed: bool = False


CSV = Dialect(delimiter=",")
TSV = Dialect(delimiter="\t")
ATOMIC = Dialect(delimiter="\t", quotes=False, typed=True)
"""RecBole's "atomic files"."""


def read_delimited(source: Source, columns: Columns, dialect: Dialect) -> Iterator[Block]:
    """Yields the file's rows, all columns as bytes; empty lines are no rows. Raises TabularError."""
    blocks = line_blocks(source)
    names = list(dialect.columns or ())
    if not names:
        number, data = next(blocks, (1, b""))
        line, _, rest = data.partition(b"\n") if isinstance(data, bytes) else (b"", b"", b"")
        names = _header(source, line, dialect)
        blocks = itertools.chain([(number + 1, rest)], blocks)
    parser = _Parser(source, dialect, names, columns.among(source.path, names))
    held, first = b"", 1
    for number, data in blocks:
        first = first if held else number
        if isinstance(data, bytes):
            held, first = yield from parser.parse(held + data, first, final=False)
        else:
            yield from parser.parse(held, first, final=True)
            yield parser.block([], [data])
            held = b""
    yield from parser.parse(held, first, final=True)


@dataclass(frozen=True, slots=True)
class _Record:
    """A record, or a line that is none: then `fault` says why, and `fields` is empty."""

    line: int
    raw: str
    fields: list[bytes]
    fault: str | None


class _Parser:
    def __init__(
        self, source: Source, dialect: Dialect, names: list[str], wanted: list[str]
    ) -> None:
        self._source = source
        self._dialect = dialect
        self._names = names
        self._positions = {name: names.index(name) for name in wanted}
        self._delimiter = dialect.delimiter if len(dialect.delimiter) == 1 else _SEPARATOR
        mark = re.escape(self._delimiter.encode())
        quoted, bare = rb'"(?:[^"]++|"")*+"|', rb'[^"\r\n%b]*+' % mark
        field = rb"(?:%b%b)" % (quoted if dialect.quotes else b"", bare)
        self._well_formed = re.compile(rb"(?:%b(?:%b%b)*+\r?\n)*+" % (field, mark, field))

    def parse(
        self, data: bytes, first: int, *, final: bool
    ) -> Generator[Block, None, tuple[bytes, int]]:
        """Yields the rows of whole lines, of which the last may end within a record.

        Returns what is left for the next block, and the number of its first line.
        """
        if self._delimiter != self._dialect.delimiter:
            data = data.replace(self._dialect.delimiter.encode(), self._delimiter.encode())
        quoted = self._dialect.quotes and b'"' in data
        plain = not quoted and data.count(b"\r") == data.count(b"\r\n")
        match = None if plain else self._well_formed.match(data)
        good = data[: match.end()] if match else data
        table = self._fast(good, quoted=quoted) if good else None
        if table is not None:
            yield self._block_of_table(table, good, first)
            data, first = data[len(good) :], first + good.count(b"\n")
        records, left = self._records(data, first, final=final)
        if records:
            bad = [bad_line(self._source, r.line, r.fault, r.raw) for r in records if r.fault]
            yield self.block([record for record in records if not record.fault], bad)
        end = len(data) - left
        return data[end:], first + data.count(b"\n", 0, end)

    def block(self, records: list[_Record], bad: list[BadRow]) -> Block:
        """Returns records, and lines that are none, as a block."""
        columns = {
            name: pa.array([record.fields[position] for record in records], pa.binary())
            for name, position in self._positions.items()
        }
        row = self._row
        return Block(self._source.path, len(records), columns, lambda i: row(records[i]), bad)

    def _block_of_table(self, table: pa.Table, data: bytes, first: int) -> Block:
        @cache
        def records() -> list[_Record]:
            return self._records(data, first, final=True)[0]

        columns = {name: table[name].combine_chunks() for name in self._positions}
        row = self._row
        return Block(self._source.path, table.num_rows, columns, lambda i: row(records()[i]))

    def _row(self, record: _Record) -> SourceRow:
        values = {name: record.fields[position] for name, position in self._positions.items()}
        return SourceRow(f"{self._source.name}, line {record.line}", shown(record.raw), values)

    def _fast(self, data: bytes, *, quoted: bool) -> pa.Table | None:
        """Parses well-formed records; None if one of them has another number of values."""
        wanted = list(self._positions)
        with suppress(pa.ArrowException):
            return pcsv.read_csv(
                io.BytesIO(data),
                pcsv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=self._names
                ),
                pcsv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char='"' if quoted else False,
                    newlines_in_values=quoted,
                ),
                pcsv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pa.binary()),
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
        return None

    def _records(self, data: bytes, first: int, *, final: bool) -> tuple[list[_Record], int]:
        """Returns records and lines that are none, without empty ones, and how many bytes are left.

        Bytes are left where a record has not ended, more lines follow, and it is not too long yet.
        """
        lines = list(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n"))
        at = 0

        def feed() -> Iterator[str]:
            nonlocal at
            while at < len(lines):
                at += 1
                yield lines[at - 1]

        rows = _reader(feed(), self._dialect, self._delimiter)
        records: list[_Record] = []
        while at < len(lines):
            begin, fault = at, None
            fields: list[str] = []
            try:
                fields = next(rows)
                if fields and len(fields) != len(self._names):
                    fault = f"{len(fields)} values for {len(self._names)} columns"
            except csv.Error as error:
                ended = at == len(lines) and "unexpected end" in str(error)
                left = sum(len(_bytes(line)) for line in lines[begin:]) if ended else 0
                if ended and not final and left <= MAX_LINE:
                    return records, left
                fault = f"not CSV: {error}"
            if fault:
                at, fields = begin + 1, []
                rows = _reader(feed(), self._dialect, self._delimiter)
            if fields or fault:
                raw = _bytes("".join(lines[begin:at])).decode("utf-8", "replace")
                raw = raw.replace(self._delimiter, self._dialect.delimiter)
                records.append(_Record(first + begin, raw, list(map(_bytes, fields)), fault))
        return records, 0


def _header(source: Source, line: bytes, dialect: Dialect) -> list[str]:
    """Returns the names of the columns in a file's first line."""
    try:
        (names,) = _reader(iter([line.decode().rstrip("\r")]), dialect, dialect.delimiter)
    except UnicodeDecodeError as error:
        raise TabularError(f"{source.path}, line 1: not UTF-8: {error}") from error
    except (ValueError, csv.Error):
        names = []
    if not names:
        raise TabularError(f"{source.path} does not begin with a line that names the columns")
    return [name.partition(":")[0] for name in names] if dialect.typed else names


def _reader(lines: Iterator[str], dialect: Dialect, delimiter: str) -> Iterator[list[str]]:
    # The limit is the process's, and 128 KiB unless set.
    csv.field_size_limit(2 * MAX_LINE)
    if dialect.quotes:
        return csv.reader(lines, delimiter=delimiter, strict=True)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
