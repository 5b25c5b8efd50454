"""Partition files: rows of one id in one file, written with a single open file at a time.

A file is Arrow streams one after the other, one for each time that the buffer was emptied.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Strings = pa.Array[Any]


_LEAST_BUFFER = 2 * 1024 * 1024
_BUFFER_A_PARTITION = 8 * 1024
"""What is written at once to a file, on average; with 4,096 partitions, 32 MiB are held."""

_COUNT_ROWS = 1_000_000


def partition_path(folder: Path, partition: int) -> Path:
    """Returns where a partition lies; one without rows has no file."""
    return folder / f"partition-{partition:04d}.arrows"


def checksums(ids: Strings) -> NDArray[np.uint32]:
    """Returns a number for each string, the same in every process; others may have it too."""
    raw: list[Any] = ids.cast(pa.binary()).to_pylist()
    return np.fromiter(map(zlib.crc32, raw), np.uint32, len(raw))


def partitions_of(ids: Strings, partitions: int) -> NDArray[np.uint16]:
    """Returns which partition each id belongs to, the same in every process."""
    return (checksums(ids) % partitions).astype(np.uint16)


class PartitionWriter:
    """Distributes rows over the files of a folder, keeping their order within each."""

    def __init__(self, folder: Path, schema: pa.Schema, partitions: int) -> None:
        self._folder = folder
        self._schema = schema
        self._partitions = partitions
        self._limit = max(_LEAST_BUFFER, partitions * _BUFFER_A_PARTITION)
        self._batches: list[pa.RecordBatch] = []
        self._positions: list[NDArray[np.uint16]] = []
        self._held = 0

    def add(self, batch: pa.RecordBatch, positions: NDArray[np.uint16]) -> None:
        """Takes rows, and for each the partition that it belongs to."""
        if batch.num_rows:
            self._batches.append(batch)
            self._positions.append(positions)
            self._held += batch.nbytes
        if self._held >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Writes what is held."""
        if not self._batches:
            return
        positions = np.concatenate(self._positions)
        # A stable sort of 16-bit numbers is a radix sort.
        order = np.argsort(positions, kind="stable")
        table = pa.Table.from_batches(self._batches).take(order).combine_chunks()
        bounds = np.searchsorted(positions[order], np.arange(self._partitions + 1)).tolist()
        for partition in np.unique(positions).tolist():
            start, end = bounds[partition : partition + 2]
            with (
                partition_path(self._folder, partition).open("ab") as file,
                pa.ipc.new_stream(file, self._schema) as stream,
            ):
                stream.write_table(table.slice(start, end - start))
        self._batches, self._positions, self._held = [], [], 0
        del table
        # What is freed stays the process's otherwise, many times the buffer.
        pa.default_memory_pool().release_unused()


def read_partition(
    folder: Path, partition: int, *, ids_only: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a partition in the order in which they were added.

    Args:
        folder: Where the partitions are.
        partition: Which one.
        ids_only: Leave out all columns but the first.
    """
    path = partition_path(folder, partition)
    if not path.is_file():
        return
    options = pa.ipc.IpcReadOptions(included_fields=[0] if ids_only else None)
    with pa.OSFile(str(path), "rb") as file:
        while file.tell() < file.size():
            with pa.ipc.open_stream(file, options=options) as stream:
                yield from stream


def count_ids(folder: Path, partition: int) -> int:
    """Returns how many different ids a partition has."""
    held: list[pa.Array[Any]] = [pa.array([], pa.string())]
    rows, limit = 0, _COUNT_ROWS
    for batch in read_partition(folder, partition, ids_only=True):
        held.append(batch.column(0))
        rows += batch.num_rows
        if rows > limit:
            held = [_unique(held)]
            rows = len(held[0])
            limit = max(_COUNT_ROWS, 2 * rows)
    return len(_unique(held))


def _unique(ids: list[pa.Array[Any]]) -> pa.Array[Any]:
    return pc.unique(pa.concat_arrays(ids))
