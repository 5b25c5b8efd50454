"""Files of rows without some of them: Parquet, JSON lines, and NumPy arrays."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.erasure.errors import ErasureError
from services.erasure.plan import Count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from services.erasure.plan import Write

    Keep = Callable[[dict[str, Any]], dict[str, Any] | None]

_BYTES_AT_ONCE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file before and after.

    Attributes:
        write: Writes the file without the rows; None if it holds none of them.
    """

    before: int
    after: int
    write: Write | None

    def count(self, what: str) -> Count:
        """Returns the counts under a name."""
        return Count(what, self.before, self.after)


def without_rows(path: Path, columns: Mapping[str, Collection[str]]) -> Rewritten:
    """Returns a Parquet file without the rows that have certain ids.

    Only the ids are read now. The new file has the same columns, compression and row groups; the
    rows that stay are in their order.

    Args:
        path: The file.
        columns: Column -> ids; a row goes that has one of the ids in any of the columns.

    Raises:
        ErasureError: The file cannot be read, or has no such column.
    """
    try:
        with pq.ParquetFile(path) as file:
            before = file.metadata.num_rows
            kept = [
                np.flatnonzero(_stays(file.read_row_group(group, list(columns)), columns))
                for group in range(file.num_row_groups)
            ]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ErasureError(
            f"{path} cannot be read ({error}); repair it or delete it, then run the command again"
        ) from error
    after = sum(map(len, kept))
    if after == before:
        return Rewritten(before, after, None)
    return Rewritten(before, after, lambda target: _write_parquet(path, target, kept))


def _stays(table: pa.Table, columns: Mapping[str, Collection[str]]) -> NDArray[np.bool_]:
    stays = np.ones(table.num_rows, np.bool_)
    for column, ids in columns.items():
        goes = pc.is_in(table[column].cast(pa.string()), value_set=pa.array(ids, pa.string()))
        stays &= ~np.asarray(goes)
    return stays


def _write_parquet(path: Path, target: Path, kept: list[NDArray[np.int64]]) -> None:
    with (
        pq.ParquetFile(path, memory_map=True) as file,
        pq.ParquetWriter(target, file.schema_arrow, **_style(file.metadata)) as writer,
    ):
        for group, rows in enumerate(kept):
            if len(rows):
                table = _without_unused(file.read_row_group(group).take(rows))
                writer.write_table(table, row_group_size=max(1, len(rows)))


def _without_unused(table: pa.Table) -> pa.Table:
    """Returns a table whose dictionaries hold no value that is in no row: ids that are gone."""
    for column, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(column).cast(field.type.value_type)
            table = table.set_column(column, field, plain.dictionary_encode().cast(field.type))
    return table


def _style(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Returns compression and encoding of a file, so that the rewritten one has the same."""
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    return {
        "compression": {
            chunk.path_in_schema: "none"
            if chunk.compression == "UNCOMPRESSED"
            else chunk.compression.lower()
            for chunk in chunks
        },
        "use_dictionary": [chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page],
    }


def without_lines(path: Path, keep: Keep) -> Rewritten:
    """Returns a file of JSON lines without some of them; a line that stays keeps its bytes.

    Args:
        path: The file.
        keep: Returns a line's object as it stays, None to leave it out. The same object keeps the
            line as it is.

    Raises:
        ErasureError: The file cannot be read, or a line is no JSON object; the line is named.
    """
    before = after = 0
    changed = False
    for line, kept in _lines(path, keep):
        before += 1
        after += kept is not None
        changed = changed or kept != line
    if not changed:
        return Rewritten(before, after, None)

    def write(target: Path) -> None:
        with target.open("wb") as file:
            file.writelines(kept for _, kept in _lines(path, keep) if kept is not None)

    return Rewritten(before, after, write)


def _lines(path: Path, keep: Keep) -> Iterator[tuple[bytes, bytes | None]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") and not _whole(line):
                    # What a killed process left of its last line: nobody reads it.
                    yield line, None
                    return
                yield line, _kept(line, keep, f"{path}, line {number}")
    except OSError as error:
        raise ErasureError(f"{path} cannot be read: {error.strerror}") from error


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _kept(line: bytes, keep: Keep, where: str) -> bytes | None:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ErasureError(f"{where}: not JSON ({error}); repair the file or delete it") from error
    if not isinstance(row, dict):
        raise ErasureError(f"{where}: not a JSON object; repair the file or delete it")
    kept = keep(row)
    if kept is row:
        return line
    return None if kept is None else json.dumps(kept).encode() + b"\n"


def naming(ids: Collection[str]) -> Callable[[object], bool]:
    """Returns what says whether a text names one of the ids, as a word of its own."""
    if not ids:
        return lambda _: False
    names = "|".join(re.escape(id_) for id_ in sorted(ids, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")
    return lambda text: isinstance(text, str) and pattern.search(text) is not None


def save_rows(source: NDArray[Any], target: Path, *axes: NDArray[np.int64]) -> None:
    """Writes a NumPy file with some rows of an array, and some columns, a portion at a time.

    Args:
        source: The array, which may be mapped into memory.
        target: The file.
        axes: The positions to keep along each of the first axes, ascending.
    """
    rows, *rest = axes
    shape = (*map(len, axes), *source.shape[len(axes) :])
    if 0 in shape:
        np.save(target, np.empty(shape, source.dtype), allow_pickle=False)
        return
    written = np.lib.format.open_memmap(target, mode="w+", dtype=source.dtype, shape=shape)
    row_bytes = max(1, source[:1].nbytes)
    step = max(1, _BYTES_AT_ONCE // row_bytes)
    for start in range(0, len(rows), step):
        some = source[rows[start : start + step]]
        written[start : start + step] = some[:, rest[0]] if rest else some
    written.flush()
    del written
