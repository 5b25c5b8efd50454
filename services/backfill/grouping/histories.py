"""Histories as they were given, line by line: rows out of them, and the ids that come twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic_core import from_json

from services.backfill.grouping.rows import HALVES, PREFIX, row_digest
from services.backfill.grouping.texts import inline_digest
from services.backfill.inputs.histories import history_of
from services.backfill.rows import ProfileRow
from services.common.tabular.blocks import BadRow
from services.common.tabular.files import shown
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reclm_client import Item, Kind
    from services.backfill.grouping.texts import Texts
    from services.backfill.inputs.histories import HistoryLine

_HISTORY_COLUMNS: Mapping[str, pa.DataType] = {
    "id": pa.string(),
    "where": pa.string(),
    "line": pa.binary(),
}
HISTORY_SCHEMA = pa.schema(_HISTORY_COLUMNS)


def history_batch(lines: list[HistoryLine]) -> pa.RecordBatch:
    """Returns histories in the form of the partitions."""
    return pa.record_batch(
        [
            pa.array([line.id for line in lines], pa.string()),
            pa.array([line.where for line in lines], pa.string()),
            pa.array([line.line for line in lines], pa.binary()),
        ],
        schema=HISTORY_SCHEMA,
    )


def second_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[BadRow]:
    """Yields the rows whose id a row before them has."""
    seen: set[str] = set()
    for batch in batches:
        ids = listed(batch.column("id"))
        for index, id_ in enumerate(ids):
            if id_ in seen:
                where, line = (batch.column(name)[index].as_py() for name in ("where", "line"))
                yield BadRow(id_, where, "a second row with this id", shown(line))
            seen.add(id_)


def history_rows(
    batches: Callable[[], Iterable[pa.RecordBatch]], *, kind: Kind, history: int, texts: Texts
) -> Iterator[ProfileRow]:
    """Yields a row for each id, the first with it.

    Args:
        batches: Opens the partition. It is parsed once for the order and once for the rows, since
            the lines take far less room than what is in them.
        kind: Whose profiles; an item's row refers to the item itself too.
        history: How many of the newest entries to keep.
        texts: Where the items' digests are.
    """
    lines: list[pa.Array[Any]] = []
    order: list[tuple[tuple[str, ...], str, int, int]] = []
    seen: set[str] = set()
    named: set[str] = set()
    for number, batch in enumerate(batches()):
        lines.append(batch.column("line"))
        names = listed(batch.column("id"))
        for index, id_ in enumerate(names):
            if id_ in seen:
                continue
            seen.add(id_)
            entries = _entries(lines[number][index], history)
            named.update(entry for entry in entries if isinstance(entry, str))
            order.append((tuple(map(_key, entries[:PREFIX])), id_, number, index))
    if kind == "item":
        named |= seen
    order.sort()
    ids = pa.array(sorted(named), pa.string())
    digests = dict(zip(ids.to_pylist(), map(bytes, texts.digests(ids)), strict=True))
    for _, id_, number, index in order:
        entries = _entries(lines[number][index], history)
        parts = [digests[id_]] if kind == "item" else []
        parts += [digests[e] if isinstance(e, str) else inline_digest(e) for e in entries]
        said, behind = (b"".join(part[half] for part in parts) for half in HALVES)
        yield ProfileRow(id_, entries, row_digest(kind, said, behind))


def _entries(line: pa.Scalar[Any], history: int) -> tuple[str | Item, ...]:
    return history_of(from_json(line.as_py()), history)


def _key(entry: str | Item) -> str:
    return entry if isinstance(entry, str) else f"{entry.id}\0{entry.title}"
