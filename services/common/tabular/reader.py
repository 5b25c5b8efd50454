"""Reads a file or a folder of any known format in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.tabular.delimited import CSV, TSV, read_delimited
from services.common.tabular.files import sources
from services.common.tabular.ndjson import read_ndjson
from services.common.tabular.parquet import read_parquet, row_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.common.tabular.blocks import Block, Columns
    from services.common.tabular.files import Source


def read_blocks(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the rows of a file of any format.

    Raises:
        TabularError: The file cannot be read, or a column is missing or of a type of no use.
    """
    if source.format == "parquet":
        return read_parquet(source, columns)
    if source.format == "ndjson":
        return read_ndjson(source, columns)
    return read_delimited(source, columns, CSV if source.format == "csv" else TSV)


def estimated_rows(path: Path, *, row_bytes: int) -> int:
    """Returns the number of rows of a file or a folder: exact for Parquet, else a guess.

    Raises:
        TabularError: There is no file, or one of them cannot be read.
    """
    total = 0
    for source in sources(path):
        size = source.path.stat().st_size * (4 if source.packed else 1)
        width = 3 * row_bytes if source.format == "ndjson" else row_bytes
        total += row_count(source) if source.format == "parquet" else size // width
    return total
