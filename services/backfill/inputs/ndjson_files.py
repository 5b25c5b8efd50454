"""Rows out of NDJSON, an object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import from_json

from services.backfill.inputs.files import Block, Found, bad_line, line_blocks, opened, shown
from services.backfill.inputs.values import readable_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backfill.inputs.files import Columns, Source
    from services.backfill.rows import BadRow

_BOM = b"\xef\xbb\xbf"


def read_objects(
    source: Source,
) -> Iterator[tuple[list[tuple[int, bytes, dict[str, object]]], list[BadRow]]]:
    """Yields blocks of objects, each with the number of its line and the line, and of bad lines.

    Raises:
        BackfillError: The file cannot be read.
    """
    with opened(source) as file:
        for first, data in line_blocks(file, source.name):
            if not isinstance(data, bytes):
                yield [], [data]
                continue
            objects: list[tuple[int, bytes, dict[str, object]]] = []
            bad: list[BadRow] = []
            for number, raw in enumerate(data.split(b"\n"), start=first):
                line = raw.removeprefix(_BOM) if number == 1 else raw
                if not line or line.isspace():
                    continue
                try:
                    value = from_json(line)
                except ValueError as error:
                    bad.append(bad_line(source.name, number, f"not JSON: {error}", line))
                    continue
                if isinstance(value, dict):
                    objects.append((number, line, value))
                else:
                    bad.append(bad_line(source.name, number, "not a JSON object", line))
            yield objects, bad


def read_ndjson(source: Source, columns: Columns) -> Iterator[Block]:
    """Yields the file's rows.

    The first object says which optional columns the file has; rows that differ are bad ones.

    Raises:
        BackfillError: The file cannot be read.
    """
    absent: list[str] | None = None
    for objects, bad in read_objects(source):
        if absent is None and objects:
            absent = [name for name in columns.optional if name not in objects[0][2]]
        missing = absent or []
        good = objects
        for name in missing:
            if any(name in value for _, _, value in objects):
                why = f"has a {name}, and the first row of the file has none"
                bad += [
                    bad_line(source.name, number, why, line, readable_id(value.get("user_id")))
                    for number, line, value in good
                    if name in value
                ]
                good = [entry for entry in good if name not in entry[2]]
        names = [name for name in columns.all if name not in missing]
        yield _block(source.name, good, names, bad)


def _block(
    name: str,
    objects: list[tuple[int, bytes, dict[str, object]]],
    columns: list[str],
    bad: list[BadRow],
) -> Block:
    def row(index: int) -> Found:
        number, line, value = objects[index]
        values = {column: value.get(column) for column in columns}
        return Found(f"{name}, line {number}", shown(line), values)

    return Block(
        size=len(objects),
        columns={column: [value.get(column) for _, _, value in objects] for column in columns},
        row=row,
        bad=bad,
    )
