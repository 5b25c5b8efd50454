"""CSV and its relatives in blocks: Arrow parses, and what it refuses is named by its line."""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedReader
    from pathlib import Path
    from typing import Literal

_BLOCK = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a file separates its columns.

    Attributes:
        delimiter: One character.
        quotes: Whether double quotes enclose a field; else they are part of it.
        columns: The names of all columns of a file without a header.
        typed: Whether the header adds a type to each name, as in `title:token_seq`.
        doubled: Whether the delimiter always stands twice, as in `1::1193::5::978300760`.
    """

    delimiter: str
    quotes: bool = True
    columns: tuple[str, ...] | None = None
    typed: bool = False
    doubled: bool = False


CSV = Dialect(delimiter=",")
TSV = Dialect(delimiter="\t")
ATOMIC = Dialect(delimiter="\t", quotes=False, typed=True)
"""RecBole's "atomic files"."""


def read_delimited(path: Path, dialect: Dialect, columns: Sequence[str]) -> Iterator[Block]:
    """Yields a file's rows with the wanted columns, as bytes, in blocks of some 16 MiB.

    Args:
        path: The file; packed if its name ends in `.gz`.
        dialect: How to read it.
        columns: What is wanted.

    Raises:
        DatasetError: The file is missing or damaged, a column is missing, or a row has another
            number of values; the row is named.
    """
    with _opened(path) as file:
        names = list(dialect.columns or _header(file, path, dialect))
        require_columns(f"{path}, line 1" if not dialect.columns else str(path), columns, names)
        if not file.peek(1):
            return
        headers = 0 if dialect.columns else 1

        def where(row: int) -> str:
            if dialect.quotes:
                return f"{path}, line {_line_of(path, row + headers)}"
            return f"{path}, line {row + headers + 1}"

        start = 0
        for batch in _batches(file, dialect, names, columns, where):
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            block = Block(arrays, where, start)
            for gap in _gaps(dialect, names):
                filled = pc.not_equal(arrays[gap], pa.scalar(b""))
                block.refuse(filled, lambda _: f"not separated by {dialect.delimiter * 2}")
            yield block
            start += batch.num_rows


def require_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Checks that a file has the columns that are wanted of it, each once.

    Raises:
        DatasetError: It has not; what is missing and what is there is named.
    """
    if missing := [name for name in wanted if name not in there]:
        has = ", ".join(there) or "none"
        raise DatasetError(f"{where}: no column {', '.join(missing)}; the columns are {has}")
    if twice := [name for name in wanted if list(there).count(name) > 1]:
        raise DatasetError(f"{where}: column {', '.join(twice)} is there more than once")


def _batches(
    file: IO[bytes],
    dialect: Dialect,
    names: list[str],
    columns: Sequence[str],
    where: Callable[[int], str],
) -> Iterator[pa.RecordBatch]:
    faults: list[pcsv.InvalidRow] = []
    gaps = _gaps(dialect, names)
    spread = list(names)
    for place, gap in enumerate(gaps):
        spread.insert(2 * place + 1, gap)

    def keep(row: pcsv.InvalidRow) -> Literal["error"]:
        faults.append(row)
        return "error"

    read = 0
    try:
        # One thread, since only then the handler learns the number of a row.
        for batch in pcsv.open_csv(
            file,
            pcsv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=spread),
            pcsv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if dialect.quotes else False,
                newlines_in_values=dialect.quotes,
                ignore_empty_lines=False,
                invalid_row_handler=keep,
            ),
            pcsv.ConvertOptions(
                include_columns=[*columns, *gaps],
                column_types=dict.fromkeys([*columns, *gaps], pa.binary()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        ):
            yield batch
            read += batch.num_rows
    except pa.ArrowInvalid as error:
        if not faults:
            raise DatasetError(f"{where(read)} and what follows cannot be read: {error}") from error
        row = faults[0]
        values = (row.actual_columns + 1) // 2 if gaps else row.actual_columns
        counts = f"{values} values for {len(names)} columns"
        raise DatasetError(f"{where((row.number or 1) - 1)}: {counts}") from error


def _gaps(dialect: Dialect, names: list[str]) -> list[str]:
    """Returns names for the empty columns between the two halves of doubled delimiters."""
    return [f"{name}{dialect.delimiter * 2}" for name in names[:-1]] if dialect.doubled else []


def _header(file: IO[bytes], path: Path, dialect: Dialect) -> list[str]:
    try:
        line = file.readline().removeprefix(_BOM).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}, line 1: not UTF-8: {error}") from error
    names = line.split(dialect.delimiter)
    if dialect.typed:
        names = [name.partition(":")[0] for name in names]
    if dialect.quotes:
        names = [name.strip().removeprefix('"').removesuffix('"') for name in names]
    return names


def _line_of(path: Path, record: int) -> int:
    """Returns the line on which a record begins, both counted: the line from 1, the record from 0.

    A record ends with a line when the quotes up to there are even in number.
    """
    within = False
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not within and record == 0:
                return number
            within ^= line.count(b'"') % 2 == 1
            record -= not within
    raise DatasetError(f"{path} has changed while it was read")


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            packed = path.name.lower().endswith(".gz")
            yield cast("BufferedReader", gzip.GzipFile(fileobj=file)) if packed else file
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
