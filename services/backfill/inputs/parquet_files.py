"""Rows out of Parquet, some megabytes at a time whatever the size of the row groups."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.backfill.errors import BackfillError
from services.backfill.inputs.files import Block, Found, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.backfill.inputs.files import Columns, Source

_ROWS = 32_768
_BYTES = 8 * 1024 * 1024


def read_parquet(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the file's rows.

    Raises:
        BackfillError: The file cannot be read, or a column is missing or of a type of no use.
    """
    try:
        # Without a buffer of its own, a whole column of a row group is read at once.
        with pq.ParquetFile(source.path, buffer_size=256 * 1024, pre_buffer=False) as file:
            names = _checked(source, columns, file.schema_arrow)
            first = 0
            for batch in file.iter_batches(_batch_size(file), columns=names, use_threads=False):
                yield _block(source.name, batch, first)
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise BackfillError(f"{source.path} cannot be read: {error}") from error


def row_count(source: Source) -> int:
    """Returns how many rows the file says it has.

    Raises:
        BackfillError: The file cannot be read.
    """
    try:
        return pq.read_metadata(source.path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise BackfillError(f"{source.path} cannot be read: {error}") from error


def _block(name: str, batch: pa.RecordBatch, first: int) -> Block:
    def row(index: int) -> Found:
        values = {
            column: _python(batch.column(column).slice(index, 1)) for column in batch.schema.names
        }
        raw = json.dumps(values, ensure_ascii=False, default=_text)
        return Found(f"{name}, row {first + index}", shown(raw), values)

    return Block(
        size=batch.num_rows,
        columns={column: batch.column(column) for column in batch.schema.names},
        row=row,
        bad=[],
    )


def _checked(source: Source, columns: Columns, schema: pa.Schema) -> list[str]:
    for column in columns.required:
        if column not in schema.names:
            has = ", ".join(schema.names)
            raise BackfillError(f"{source.path} has no column {column!r}; it has {has}")
    names = [column for column in columns.all if column in schema.names]
    for column in names:
        if schema.names.count(column) > 1:
            raise BackfillError(f"{source.path} has column {column!r} more than once")
        kind = schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        wanted, fits = _USES.get(column, ("text or integers", _is_text))
        if not (fits(kind) or pa.types.is_null(kind)):
            raise BackfillError(f"{source.path}: column {column!r} is {kind}, not {wanted}")
    return names


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_integer(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_decimal(kind) or _is_text(kind)


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind) or _is_number(kind)


_USES: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "timestamp": ("seconds since 1970, a time or ISO 8601 text", _is_time),
    "weight": ("numbers", _is_number),
}


def _batch_size(file: pq.ParquetFile) -> int:
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
    return max(1, min(_ROWS, int(_BYTES / max(widest, 1))))


def _python(value: pa.Array[Any]) -> object:
    if pa.types.is_dictionary(value.type):
        value = value.cast(value.type.value_type)
    if not (pa.types.is_integer(value.type) or pa.types.is_floating(value.type)) and _is_text(
        value.type
    ):
        # Arrow does not check on reading that text is UTF-8.
        return value.cast(pa.large_binary()).to_pylist()[0]
    if pa.types.is_temporal(value.type):
        return value.cast(pa.timestamp("us"), safe=False).to_pylist()[0]
    if pa.types.is_decimal(value.type):
        value = value.cast(pa.float64())
    found: list[object] = value.to_pylist()
    return found[0]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
