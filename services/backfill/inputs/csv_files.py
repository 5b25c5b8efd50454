"""Rows out of CSV and TSV: Arrow parses what is plainly well-formed, and the csv module the rest.

Arrow is fast, but gives up on a whole file for one bad byte and names no lines. So the file is
cut into blocks of whole records here, and a block in which anything is wrong, or of which a row
is to be shown, is parsed again by `inputs_records`.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from services.backfill.errors import BackfillError
from services.backfill.inputs.files import (
    MAX_LINE,
    Block,
    Found,
    bad_line,
    line_blocks,
    opened,
    shown,
)
from services.backfill.inputs.records import Record, split_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from services.backfill.inputs.files import Columns, Source
    from services.backfill.rows import BadRow

_BOM = b"\xef\xbb\xbf"
_QUOTE = ord('"')


def read_csv(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the file's rows; all columns are bytes.

    Raises:
        BackfillError: The file cannot be read, or a column is missing.
    """
    with opened(source) as file:
        header, first = _header(file, source)
        for column in columns.required:
            if column not in header:
                has = ", ".join(header)
                raise BackfillError(f"{source.path} has no column {column!r}; it has {has}")
        wanted = [column for column in columns.all if column in header]
        for column in wanted:
            if header.count(column) > 1:
                raise BackfillError(f"{source.path} has column {column!r} more than once")
        parser = _Parser(source, header, wanted)
        held = b""
        for number, data in line_blocks(file, source.name, first):
            if isinstance(data, bytes):
                if not held:
                    first = number
                block, held, first = parser.parse(held + data, first, final=False)
                yield block
                continue
            if held:
                yield parser.parse(held, first, final=True)[0]
                held = b""
            yield Block(0, parser.arrays([]), _no_row, [data])
        if held:
            yield parser.parse(held, first, final=True)[0]


class _Parser:
    def __init__(self, source: Source, header: list[str], wanted: list[str]) -> None:
        self._name = source.name
        self._delimiter = _delimiter(source)
        self._header = header
        self._wanted = wanted

    def parse(self, data: bytes, first: int, *, final: bool) -> tuple[Block, bytes, int]:
        """Parses whole lines, of which the last may end within a record.

        Returns:
            The rows, what is left for the next block, and the number of its first line.
        """
        cut = _end_of_records(data, self._delimiter.encode())
        # A record that is too long goes the slow way, which gives up its first line alone.
        if cut and (cut == len(data) or not final) and len(data) - cut <= MAX_LINE:
            table = self._fast(data[:cut])
            if table is not None:
                block = self._block_of_table(table, data[:cut], first)
                return block, data[cut:], first + data.count(b"\n", 0, cut)
        records, bad, left = self._slow(data, first, final=final)
        block = self._block_of_records(records, bad)
        rest = data[len(data) - left :] if left else b""
        return block, rest, first + data.count(b"\n", 0, len(data) - left)

    def arrays(self, records: Sequence[Record]) -> dict[str, pa.Array[Any]]:
        """Returns the wanted columns of records, as bytes."""
        positions = {name: self._header.index(name) for name in self._wanted}
        return {
            name: pa.array([record.fields[place] for record in records], pa.binary())
            for name, place in positions.items()
        }

    def _fast(self, data: bytes) -> pa.Table | None:
        """Parses a block of well-formed records, None if they turn out not to be."""
        faults = 0

        def skip(_: pcsv.InvalidRow) -> Literal["skip"]:
            nonlocal faults
            faults += 1
            return "skip"

        try:
            table = pcsv.read_csv(
                io.BytesIO(data),
                pcsv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=self._header
                ),
                pcsv.ParseOptions(
                    delimiter=self._delimiter,
                    newlines_in_values=b'"' in data,
                    invalid_row_handler=skip,
                ),
                pcsv.ConvertOptions(
                    include_columns=self._wanted,
                    column_types=dict.fromkeys(self._wanted, pa.binary()),
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
        except pa.ArrowException:
            return None
        return None if faults else table

    def _slow(
        self, data: bytes, first: int, *, final: bool
    ) -> tuple[list[Record], list[BadRow], int]:
        records, left = split_records(
            data, first, delimiter=self._delimiter, width=len(self._header), final=final
        )
        good = [record for record in records if record.fault is None]
        bad = [
            bad_line(self._name, record.line, record.fault, record.raw)
            for record in records
            if record.fault is not None
        ]
        return good, bad, left

    def _block_of_table(self, table: pa.Table, data: bytes, first: int) -> Block:
        @cache
        def records() -> list[Record]:
            return self._slow(data, first, final=True)[0]

        columns = {name: table[name].combine_chunks() for name in self._wanted}
        return Block(table.num_rows, columns, lambda index: self._found(records()[index]), [])

    def _block_of_records(self, records: list[Record], bad: list[BadRow]) -> Block:
        arrays = self.arrays(records)
        return Block(len(records), arrays, lambda index: self._found(records[index]), bad)

    def _found(self, record: Record) -> Found:
        values = {name: record.fields[self._header.index(name)] for name in self._wanted}
        return Found(f"{self._name}, line {record.line}", shown(record.raw), values)


def _header(file: IO[bytes], source: Source) -> tuple[list[str], int]:
    """Reads the first line, and returns the names in it and the number of the line after it."""
    line = file.readline(MAX_LINE).removeprefix(_BOM)
    records, _ = split_records(line, 1, delimiter=_delimiter(source), width=None, final=True)
    if len(records) != 1 or records[0].fault is not None:
        raise BackfillError(f"{source.path} does not begin with a line that names the columns")
    try:
        return [field.decode() for field in records[0].fields], 2
    except UnicodeDecodeError as error:
        raise BackfillError(f"{source.path}, line 1: not UTF-8: {error}") from error


def _delimiter(source: Source) -> str:
    return "\t" if source.format == "tsv" else ","


def _end_of_records(data: bytes, delimiter: bytes) -> int:
    """Returns where the last whole record ends; 0 where the records are not plainly well-formed.

    They are if each quote opens a field at its beginning, closes one at its end, or is one of two
    in a row. Then a line feed is within a field just where the quotes before it are odd in number.
    """
    if data.count(b"\r") != data.count(b"\r\n"):
        return 0
    if b'"' not in data:
        return len(data)
    padded = np.frombuffer(b"\n" + data + b"\n", dtype=np.uint8)
    quotes = np.flatnonzero(padded == _QUOTE)
    before, after = padded[quotes[::2] - 1], padded[quotes[1::2] + 1]
    opens, closes = delimiter + b'\n"', delimiter + b'\r\n"'
    if not (np.isin(before, list(opens)).all() and np.isin(after, list(closes)).all()):
        return 0
    if len(quotes) % 2 == 0 and data.endswith(b"\n"):
        return len(data)
    feeds = np.flatnonzero(padded[1:-1] == ord("\n"))
    outside = feeds[np.searchsorted(quotes - 1, feeds) % 2 == 0]
    return int(outside[-1]) + 1 if outside.size else 0


def _no_row(index: int) -> Found:
    raise IndexError(index)
