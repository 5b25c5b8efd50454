"""The files of an input, and the lines of a text file in blocks, decompressed."""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from services.common.tabular.blocks import BadRow, TabularError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Format = Literal["parquet", "csv", "tsv", "ndjson"]

MAX_LINE = 16 * 1024 * 1024
BLOCK = 4 * 1024 * 1024
_RAW_CHARACTERS = 2_000
_BOM = b"\xef\xbb\xbf"

_TEXT: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_PACKED = (".gz", ".zst")
_FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    **{end + packed: form for packed in ("", *_PACKED) for end, form in _TEXT.items()},
}
_SUFFIXES = f".parquet, {', '.join(_TEXT)} (all but .parquet also with {' or '.join(_PACKED)})"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of an input; `name` is what reports call it."""

    path: Path
    name: str
    format: Format

    @property
    def packed(self) -> bool:
        """Whether the file is compressed."""
        return self.path.name.lower().endswith(_PACKED)


def sources(path: Path) -> list[Source]:
    """Returns the files that a path stands for: itself, or all below it in order of name.

    In a folder, names that begin with a dot or an underscore are no data: jobs of others keep
    unfinished parts and notes of theirs there.

    Raises:
        TabularError: There is none, or its suffix is unknown.
    """
    if not path.exists():
        raise TabularError(f"{path} is missing; name a file or a folder of files")
    found = []
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        below = file.relative_to(path)
        hidden = any(part.startswith((".", "_")) for part in below.parts)
        forms = [form for end, form in _FORMATS.items() if file.name.lower().endswith(end)]
        if forms and not hidden and file.is_file():
            found.append(Source(file, below.as_posix() if below.parts else file.name, forms[0]))
    if not found:
        is_none = "holds no file" if path.is_dir() else "is no file"
        raise TabularError(f"{path} {is_none} of a known format; names end in {_SUFFIXES}")
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises whatever goes wrong in reading a file as a TabularError."""
    try:
        yield
    except FileNotFoundError as error:
        raise TabularError(f"{path} is missing") from error
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise TabularError(f"{path} cannot be read: {error}") from error


def line_blocks(source: Source) -> Iterator[tuple[int, bytes | BadRow]]:
    """Yields whole lines in blocks, and a BadRow in the place of each line that is too long.

    Yields:
        The number of the first line, and the bytes: lines of at most 16 MiB, without a BOM.

    Raises:
        TabularError: The file cannot be read.
    """
    too_long = f"the line has more than {MAX_LINE:,} bytes"
    first, held, passing_over = 1, b"", False
    with reading(source.path), source.path.open("rb") as packed:
        file: Any = packed
        if source.path.name.lower().endswith(".gz"):
            file = gzip.GzipFile(fileobj=packed)
        elif source.packed:
            file = pa.CompressedInputStream(packed, "zstd")
        while more := file.read(BLOCK):
            if passing_over:
                _, ended, more = more.partition(b"\n")
                passing_over = not ended
            data = held + more if held else more.removeprefix(_BOM) if first == 1 else more
            end = data.rfind(b"\n") + 1
            lines, held = data[:end], data[end:]
            # What was held has no line feed, so no line but the first can be too long.
            if len(lines) > MAX_LINE and (long := lines.find(b"\n") + 1) > MAX_LINE:
                yield first, bad_line(source, first, too_long, lines)
                first, lines = first + 1, lines[long:]
            if lines:
                yield first, lines
                first += lines.count(b"\n")
            if len(held) > MAX_LINE:
                yield first, bad_line(source, first, too_long, held)
                first, held, passing_over = first + 1, b"", True
    if held:
        yield first, held


def bad_line(
    source: Source, line: int, why: str, raw: bytes | str, id_: str | None = None
) -> BadRow:
    """Returns the report of a line of a text file."""
    return BadRow(id_, f"{source.name}, line {line}", why, shown(raw))


def shown(raw: bytes | str) -> str:
    """Returns the first 2,000 characters of a row, without the end of its line."""
    if isinstance(raw, bytes):
        raw = raw[: 4 * _RAW_CHARACTERS].decode("utf-8", "replace")
    return raw.rstrip("\r\n")[:_RAW_CHARACTERS]
