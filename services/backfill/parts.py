"""The output of one partition: rows gathered in a journal, then one file that replaces the last.

A row is in the journal when its file has been renamed into place; the final file is written from
journal and earlier file together, each id once, in order of id. So whatever ends the process, the
next one finds either whole files or none, and redoes what was not in one.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.backfill.errors import BackfillError, room_for
from services.common.files import atomic_file
from services.common.hashing import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from services.backfill.makers import Made, RowFailed
    from services.backfill.rows import ProfileRow

Dtype = Literal["float16", "float32"]

WORK = "_work"
"""Folder of what is on its way. Readers of Parquet folders pass over names with an underscore."""

_ROW_GROUP = 1_000
"""Rows that are encoded at once: writing takes several times the memory of what is written."""

_RESUMING = ["id", "request", "version"]


@dataclass(frozen=True, slots=True)
class PartFile:
    """A finished file of the output, as the manifest has it."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row lies: which file of `_sources`, and which row of it."""

    request: bytes
    version: str
    source: int
    row: int


def schema(dimension: int, dtype: Dtype) -> pa.Schema:
    """Returns the columns of the output.

    `request` is the digest of what a profile was asked for with, by which a later run knows
    whether its input has changed.
    """
    number = {"float16": pa.float16(), "float32": pa.float32()}[dtype]
    return pa.schema(
        {
            "id": pa.string(),
            "text": pa.string(),
            "vector": pa.list_(number, dimension),
            "status": pa.string(),
            "version": pa.string(),
            "input_hash": pa.string(),
            "created_at": pa.timestamp("ms", "UTC"),
            "request": pa.binary(16),
        }
    )


class Part:
    """The output of one partition.

    Args:
        out: The job's folder.
        number: Of the partition.
        dtype: Of vectors.
    """

    def __init__(self, out: Path, number: int, *, dtype: Dtype) -> None:
        self.number = number
        self._dtype = dtype
        self._path = out / f"part-{number:05}.parquet"
        self._journal = out / WORK / "journal" / f"{number:05}"
        self._failures_path = failures_path(out, number)
        self._sources: list[Path] = []
        self._known: dict[str, _Place] = {}
        self._kept: set[str] = set()
        self._buffer: list[tuple[ProfileRow, Made]] = []
        self._failures: list[bytes] = []
        self._before = 0
        self._load()

    def request_of(self, id_: str) -> tuple[bytes, str] | None:
        """Returns the request digest and version under which an id was done before."""
        place = self._known.get(id_)
        return None if place is None else (place.request, place.version)

    def keep(self, id_: str) -> None:
        """Takes over what was done before."""
        self._kept.add(id_)

    def add(self, row: ProfileRow, made: Made) -> None:
        """Takes a row that has been made."""
        self._buffer.append((row, made))

    def fail(self, row: ProfileRow, error: RowFailed) -> None:
        """Takes a row that could not be made, in a form that can be mended and fed back in."""
        history = [
            entry
            if isinstance(entry, str)
            else {name: text for name, text in asdict(entry).items() if text or name == "title"}
            for entry in row.history
        ]
        line = {
            "id": row.id,
            "history": history,
            "error": {"code": error.code, "detail": error.detail},
        }
        # In ASCII, since a row may have failed for text that UTF-8 cannot hold.
        self._failures.append(json.dumps(line).encode() + b"\n")

    @property
    def buffered(self) -> int:
        """Rows that a crash would lose: they would be asked for again, and found in the cache."""
        return len(self._buffer)

    def take(self) -> list[tuple[ProfileRow, Made]]:
        """Returns what is buffered, to be written with `write`."""
        rows, self._buffer = self._buffer, []
        return rows

    def write(self, rows: list[tuple[ProfileRow, Made]]) -> None:
        """Writes rows to the journal. Blocks.

        Raises:
            BackfillError: The disk is full, or vectors have different lengths.
        """
        if not rows:
            return
        path = self._journal / f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}.parquet"
        _write(_table(rows, self._dtype), path)
        self._sources.append(path)
        for number, (row, made) in enumerate(rows):
            place = _Place(row.digest, made.version, len(self._sources) - 1, number)
            self._known[row.id] = place
            self._kept.add(row.id)

    def write_failures(self) -> None:
        """Writes the rows that failed, in the place of those of an earlier run. Blocks."""
        with room_for(self._failures_path), atomic_file(self._failures_path) as file:
            file.writelines(self._failures)

    def finish(self) -> PartFile | None:
        """Writes the partition's file and its failures, and drops the journal. Blocks.

        Returns:
            None when not one row of the partition is done.
        """
        self.write(self.take())
        self.write_failures()
        journal = [path for path in self._sources if path != self._path]
        if journal or len(self._kept) != self._before:
            self._write_file()
        if self._journal.exists():
            shutil.rmtree(self._journal)
        # Whoever still refers to this part need not hold its ids as well.
        self._known.clear()
        self._kept.clear()
        pa.default_memory_pool().release_unused()
        return describe(self._path)

    def _write_file(self) -> None:
        if not self._kept:
            self._path.unlink(missing_ok=True)
            return
        ids = sorted(self._kept)
        positions = [self._known[id_] for id_ in ids]
        sources = {place.source for place in positions}
        tables = {
            source: pq.read_table(self._sources[source], partitioning=None) for source in sources
        }
        first = dict(zip(tables, _offsets(tables.values()), strict=True))
        rows = np.array([first[place.source] + place.row for place in positions])
        try:
            table = pa.concat_tables(tables.values())
        except pa.ArrowInvalid as error:
            raise BackfillError(
                f"{self._path}: rows of before have other columns than rows of now ({error}); "
                "choose another folder for the output"
            ) from error
        del tables
        with (
            room_for(self._path),
            atomic_file(self._path) as file,
            _writer(file, table.schema) as writer,
        ):
            for start in range(0, len(rows), _ROW_GROUP):
                writer.write_table(table.take(rows[start : start + _ROW_GROUP]))

    def _load(self) -> None:
        """Reads what was done before; of an id that is there twice, the later one counts."""
        if self._path.exists():
            self._sources.append(self._path)
        if self._journal.is_dir():
            # A name with a dot is what a killed process left of a file that it was writing.
            self._sources += sorted(self._journal.glob("[!.]*.parquet"))
        for source, path in enumerate(self._sources):
            try:
                table = pq.read_table(path, columns=_RESUMING, partitioning=None)
            except (pa.ArrowException, OSError) as error:
                raise BackfillError(
                    f"{path} cannot be read ({error}); delete it, and its rows are made again"
                ) from error
            if path == self._path:
                self._before = table.num_rows
            columns = (table[name].to_pylist() for name in _RESUMING)
            for row, (id_, request, version) in enumerate(zip(*columns, strict=True)):
                self._known[id_] = _Place(request, version, source, row)


def failures_path(out: Path, number: int) -> Path:
    """Returns where the failures of a partition are until the end of the job."""
    return out / WORK / "failures" / f"{number:05}.ndjson"


def describe(path: Path) -> PartFile | None:
    """Returns what the manifest says of a file; None when there is none."""
    if not path.exists():
        return None
    rows = pq.read_metadata(path).num_rows
    return PartFile(path.name, rows, path.stat().st_size, sha256_of(path))


def _table(rows: Sequence[tuple[ProfileRow, Made]], dtype: Dtype) -> pa.Table:
    dimensions = {len(made.vector) for _, made in rows}
    if len(dimensions) != 1:
        raise BackfillError(
            f"the vectors have {' and '.join(map(str, sorted(dimensions)))} numbers: the service's "
            "encoder was exchanged in the middle; start again"
        )
    (dimension,) = dimensions
    numbers = np.concatenate([made.vector for _, made in rows]).astype(dtype)
    columns = schema(dimension, dtype)
    return pa.table(
        [
            pa.array([made.id for _, made in rows], pa.string()),
            pa.array([made.text for _, made in rows], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(numbers), dimension),
            pa.array([made.status for _, made in rows], pa.string()),
            pa.array([made.version for _, made in rows], pa.string()),
            pa.array([made.input_hash for _, made in rows], pa.string()),
            pa.array([made.created_ms for _, made in rows], pa.timestamp("ms", "UTC")),
            pa.array([row.digest for row, _ in rows], pa.binary(16)),
        ],
        schema=columns,
    )


def _write(table: pa.Table, path: Path) -> None:
    with room_for(path), atomic_file(path) as file, _writer(file, table.schema) as writer:
        writer.write_table(table)


def _writer(file: BinaryIO, columns: pa.Schema) -> pq.ParquetWriter:
    # A dictionary of vectors or texts would be as large as they are.
    repeated: Any = ["status", "version"]
    return pq.ParquetWriter(file, columns, compression="zstd", use_dictionary=repeated)


def _offsets(tables: Iterable[pa.Table]) -> list[int]:
    """Returns at which row each table begins when they stand one after the other."""
    return [0, *itertools.accumulate(table.num_rows for table in tables)][:-1]
