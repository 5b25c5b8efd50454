"""Reads an input once and writes its grouped form: partitions, items' digests, bad rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from services.backfill.errors import BackfillError
from services.backfill.grouping.histories import HISTORY_SCHEMA, history_batch, second_rows
from services.backfill.grouping.partitions import (
    PartitionWriter,
    count_ids,
    partitions_of,
    read_partition,
)
from services.backfill.grouping.rows import INTERACTION_SCHEMA
from services.backfill.grouping.texts import TEXTS_SCHEMA, item_digest, write_texts
from services.backfill.inputs.histories import read_histories
from services.backfill.inputs.interactions import read_interactions
from services.backfill.inputs.readers import read_items
from services.common.tabular.blocks import BadRow, raised_as
from services.common.tabular.reader import estimated_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from reclm_client import Item
    from services.backfill.inputs.readers import Inputs

TEXTS = "items.arrow"
BAD = "bad.ndjson"

_ROWS_A_PARTITION = 100_000
_FEWEST, _MOST = 8, 4096


@dataclass(slots=True)
class Report:
    """What was read: the source of the rows, and how many rows, ids and bad rows there were."""

    source: str
    read: int = 0
    ids: int = 0
    bad: int = 0


def default_partitions(inputs: Inputs) -> int:
    """Returns how many partitions let one of them fit into memory comfortably."""
    with raised_as(BackfillError):
        if inputs.interactions is not None:
            rows = estimated_rows(inputs.interactions, row_bytes=24)
        elif inputs.histories is not None:
            # Counted in entries, which are what takes room.
            rows = estimated_rows(inputs.histories, row_bytes=8)
        elif inputs.items is not None:
            rows = estimated_rows(inputs.items, row_bytes=100)
    return min(max(-(-rows // _ROWS_A_PARTITION), _FEWEST), _MOST)


def build(
    folder: Path, inputs: Inputs, *, partitions: int, progress: Callable[[int], None]
) -> Report:
    """Writes everything but the marker.

    Args:
        folder: Where; empty.
        inputs: What to read.
        partitions: How many files to distribute the rows over.
        progress: Called with the number of rows read so far.

    Raises:
        BackfillError: The input cannot be read.
    """
    if inputs.interactions is not None:
        report = Report("interactions")
    else:
        report = Report("items" if inputs.histories is None else "histories")
    with (folder / BAD).open("w", encoding="utf-8") as file:
        builder = _Builder(folder, partitions, report, file, progress)
        if inputs.interactions is not None:
            builder.interactions(inputs.interactions, inputs.min_weight)
        if inputs.histories is not None:
            builder.histories(inputs.histories)
        if inputs.items is not None and report.source == "items":
            builder.items(inputs.items)
        elif inputs.items is not None:
            write_texts(folder / TEXTS, builder.good_items(inputs.items))
    report.ids = sum(count_ids(folder, partition) for partition in range(partitions))
    return report


class _Builder:
    def __init__(
        self,
        folder: Path,
        partitions: int,
        report: Report,
        bad: IO[str],
        progress: Callable[[int], None],
    ) -> None:
        self._folder = folder
        self._partitions = partitions
        self._report = report
        self._bad = bad
        self._progress = progress

    def interactions(self, path: Path, min_weight: float | None) -> None:
        writer = self._writer(INTERACTION_SCHEMA)
        for batch, bad, read in read_interactions(path, min_weight=min_weight):
            users: Any = batch.column("user")
            positions = partitions_of(users.dictionary, self._partitions)
            writer.add(batch.cast(INTERACTION_SCHEMA), positions[np.asarray(users.indices)])
            self._note(bad)
            self._count(read)
        writer.flush()

    def histories(self, path: Path) -> None:
        writer = self._writer(HISTORY_SCHEMA)
        for lines, bad in read_histories(path):
            batch = history_batch(lines)
            writer.add(batch, partitions_of(batch.column("id"), self._partitions))
            self._note(bad)
            self._count(len(lines) + len(bad))
        writer.flush()
        for partition in range(self._partitions):
            self._note(second_rows(read_partition(self._folder, partition)))

    def items(self, path: Path) -> None:
        writer = self._writer(TEXTS_SCHEMA)
        for items in self.good_items(path, count=True):
            ids = pa.array([item.id for item in items], pa.string())
            digests = pa.array(list(map(item_digest, items)), TEXTS_SCHEMA.field("digest").type)
            batch = pa.record_batch([ids, digests], schema=TEXTS_SCHEMA)
            writer.add(batch, partitions_of(ids, self._partitions))
        writer.flush()

    def good_items(self, path: Path, *, count: bool = False) -> Iterator[list[Item]]:
        """Yields items, and records the rows that are none."""
        for block in read_items(path):
            self._note(entry for entry in block if isinstance(entry, BadRow))
            if count:
                self._count(len(block))
            yield [entry for entry in block if not isinstance(entry, BadRow)]

    def _writer(self, schema: pa.Schema) -> PartitionWriter:
        return PartitionWriter(self._folder, schema, self._partitions)

    def _note(self, rows: Iterable[BadRow]) -> None:
        for row in rows:
            self._bad.write(json.dumps(asdict(row)) + "\n")
            self._report.bad += 1

    def _count(self, rows: int) -> None:
        self._report.read += rows
        pa.default_memory_pool().release_unused()
        self._progress(self._report.read)
