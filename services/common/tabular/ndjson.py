"""Rows out of NDJSON, an object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import from_json

from services.common.tabular.blocks import BadRow, Block, SourceRow
from services.common.tabular.files import bad_line, line_blocks, shown
from services.common.tabular.rules import ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.common.tabular.blocks import Columns
    from services.common.tabular.files import Source

    Objects = list[tuple[int, bytes, dict[str, object]]]


def read_objects(source: Source) -> Iterator[tuple[Objects, list[BadRow]]]:
    """Yields blocks of objects, each with its line's number and bytes, and of bad lines."""
    for first, data in line_blocks(source):
        objects: Objects = []
        bad = [data] if isinstance(data, BadRow) else []
        lines = data.split(b"\n") if isinstance(data, bytes) else []
        for number, line in enumerate(lines, start=first):
            if not line or line.isspace():
                continue
            try:
                value = from_json(line)
            except ValueError as error:
                bad.append(bad_line(source, number, f"not JSON: {error}", line))
                continue
            if isinstance(value, dict):
                objects.append((number, line, value))
            else:
                bad.append(bad_line(source, number, "not a JSON object", line))
        yield objects, bad


def read_ndjson(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the file's rows, with lists of JSON values as columns; raises TabularError.

    The first object says which optional columns the file has; rows that differ are bad ones.
    """
    absent: list[str] | None = None
    for objects, bad in read_objects(source):
        if absent is None and objects:
            absent = [name for name in columns.optional if name not in objects[0][2]]
        for name in absent or ():
            why = f"has a {name}, and the first row of the file has none"
            for number, line, value in objects:
                if name in value:
                    id_ = ID.valid(value.get(columns.required[0]))
                    bad.append(bad_line(source, number, why, line, id_))
            objects = [entry for entry in objects if name not in entry[2]]  # noqa: PLW2901
        yield _block(source, objects, [n for n in columns.all if n not in (absent or ())], bad)


def _block(source: Source, objects: Objects, names: list[str], bad: list[BadRow]) -> Block:
    def row(index: int) -> SourceRow:
        number, line, value = objects[index]
        values = {name: value.get(name) for name in names}
        return SourceRow(f"{source.name}, line {number}", shown(line), values)

    columns = {name: [value.get(name) for *_, value in objects] for name in names}
    return Block(source.path, len(objects), columns, row, bad)
