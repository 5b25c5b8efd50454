"""The files of an input: which there are, and their lines in blocks, gzip or not."""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from services.backfill.errors import BackfillError
from services.backfill.rows import RAW_CHARACTERS, BadRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

Format = Literal["parquet", "csv", "tsv", "ndjson"]

MAX_LINE = 16 * 1024 * 1024
BLOCK = 4 * 1024 * 1024

_FORMATS: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "tsv",
    ".tsv.gz": "tsv",
    ".ndjson": "ndjson",
    ".ndjson.gz": "ndjson",
    ".jsonl": "ndjson",
    ".jsonl.gz": "ndjson",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One file of an input; `name` is what reports call it."""

    path: Path
    name: str
    format: Format


@dataclass(frozen=True, slots=True)
class Columns:
    """What a reader wants of a file.

    Attributes:
        required: Columns without which a file is of no use.
        optional: Columns that a file has for all of its rows or for none.
        sparse: Columns that any row may lack.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is wanted."""
        return (*self.required, *self.optional, *self.sparse)


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it stood in its file, for the report of what is wrong with it."""

    where: str
    raw: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file.

    Attributes:
        size: Rows in `columns`.
        columns: The wanted columns that the file has: Arrow's, or lists of what JSON gave.
        row: Finds a row of the block again.
        bad: Rows that are not even rows, and so are not in `columns`.
    """

    size: int
    columns: Mapping[str, pa.Array[Any] | list[object]]
    row: Callable[[int], Found]
    bad: list[BadRow]


def sources(path: Path) -> list[Source]:
    """Returns the files that a path stands for: itself, or all below it in order of name.

    Raises:
        BackfillError: There is none, or it has a suffix that no reader knows.
    """
    if path.is_dir():
        below = ((file, _format(file)) for file in sorted(path.rglob("*")) if file.is_file())
        found = [
            Source(file, file.relative_to(path).as_posix(), form) for file, form in below if form
        ]
        if not found:
            raise BackfillError(f"{path} holds no {_suffixes()} file")
        return found
    if not path.exists():
        raise BackfillError(f"{path} is not there; name a file or a folder of files")
    form = _format(path)
    if form is None:
        raise BackfillError(f"{path} is of no known format; its name must end in {_suffixes()}")
    return [Source(path, path.name, form)]


def _format(path: Path) -> Format | None:
    name = path.name.lower()
    return next((form for end, form in _FORMATS.items() if name.endswith(end)), None)


def _suffixes() -> str:
    *first, last = (end for end in _FORMATS if not end.endswith(".gz"))
    return f"{', '.join(first)} or {last} (all but .parquet also with .gz)"


@contextmanager
def opened(source: Source) -> Iterator[IO[bytes]]:
    """Opens a file for its bytes, decompressed.

    Raises:
        BackfillError: It cannot be opened, or, while the context lasts, not be read on.
    """
    packed = source.path.name.lower().endswith(".gz")
    try:
        with source.path.open("rb") as file:
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
    except (OSError, EOFError, zlib.error) as error:
        raise BackfillError(f"{source.path} cannot be read: {error}") from error


def line_blocks(file: IO[bytes], name: str, first: int = 1) -> Iterator[tuple[int, bytes | BadRow]]:
    """Yields whole lines in blocks, and a BadRow in the place of each line that is too long.

    Args:
        file: What to read.
        name: The file's name in reports.
        first: The number of the line that comes next.

    Yields:
        The number of the first line, and the bytes: lines of at most 16 MiB.
    """
    held = b""
    more = file.read(BLOCK)
    while more:
        end = more.rfind(b"\n") + 1
        if end:
            data, held = held + more[:end], more[end:]
            # What was held has no line feed, so no line but the first can be too long.
            if len(data) > MAX_LINE and (long := data.find(b"\n") + 1) > MAX_LINE:
                yield first, _too_long(name, first, data)
                first, data = first + 1, data[long:]
            if data:
                yield first, data
                first += data.count(b"\n")
        elif len(held) + len(more) <= MAX_LINE:
            held += more
        else:
            yield first, _too_long(name, first, held)
            first, held = first + 1, b""
            more = _rest_of_line(file)
            if more:
                continue
        more = file.read(BLOCK)
    if held:
        yield first, held


def bad_line(name: str, line: int, why: str, raw: bytes | str, id_: str | None = None) -> BadRow:
    """Reports a line of a text file."""
    return BadRow(id_, f"{name}, line {line}", why, shown(raw))


def shown(raw: bytes | str) -> str:
    """Returns the beginning of a row, without the end of its line."""
    if isinstance(raw, bytes):
        raw = raw[: 4 * RAW_CHARACTERS].decode("utf-8", "replace")
    return raw.rstrip("\r\n")[:RAW_CHARACTERS]


def _too_long(name: str, line: int, data: bytes) -> BadRow:
    return bad_line(name, line, f"the line has more than {MAX_LINE:,} bytes", data)


def _rest_of_line(file: IO[bytes]) -> bytes:
    """Reads to the end of a line and returns what was read beyond it."""
    while more := file.read(BLOCK):
        if end := more.find(b"\n") + 1:
            return more[end:]
    return b""
