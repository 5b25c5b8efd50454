"""Rows out of Parquet, some megabytes at a time whatever the size of the row groups."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from services.common.tabular.blocks import Block, SourceRow
from services.common.tabular.files import reading, shown
from services.common.tabular.rules import python_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from services.common.tabular.blocks import Columns
    from services.common.tabular.files import Source

_ROWS = 32_768
_BYTES = 8 * 1024 * 1024


def read_parquet(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the file's rows; raises TabularError."""
    # Without a buffer of its own, a whole column of a row group is read at once.
    options: dict[str, Any] = {"buffer_size": 256 * 1024, "pre_buffer": False}
    with reading(source.path), pq.ParquetFile(source.path, **options) as file:
        names = columns.among(source.path, file.schema_arrow.names)
        first = 0
        for batch in file.iter_batches(_batch_size(file), columns=names, use_threads=False):
            yield _block(source, batch, first)
            first += batch.num_rows


def row_count(source: Source) -> int:
    """Returns how many rows the file says it has; raises TabularError."""
    with reading(source.path):
        return pq.read_metadata(source.path).num_rows


def _block(source: Source, batch: pa.RecordBatch, first: int) -> Block:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))

    def row(index: int) -> SourceRow:
        values = {name: python_values(one.slice(index, 1))[0] for name, one in columns.items()}
        raw = json.dumps(values, ensure_ascii=False, default=_text)
        return SourceRow(f"{source.name}, row {first + index}", shown(raw), values)

    return Block(source.path, batch.num_rows, columns, row)


def _batch_size(file: pq.ParquetFile) -> int:
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
    return max(1, min(_ROWS, int(_BYTES / max(widest, 1))))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
