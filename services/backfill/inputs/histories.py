"""Histories, one NDJSON object each: the form of the failures file, which can so be fed back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client import Item
from services.backfill.errors import BackfillError
from services.common.tabular.blocks import BadRow, raised_as
from services.common.tabular.files import bad_line, sources
from services.common.tabular.ndjson import read_objects
from services.common.tabular.rules import ID, TEXT, Fault, described

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A history that has been checked, and is kept as it stood."""

    id: str
    where: str
    line: bytes


def read_histories(path: Path) -> Iterator[tuple[list[HistoryLine], list[BadRow]]]:
    """Yields the histories of a file or a folder in blocks, in order; of two with one id both.

    Raises:
        BackfillError: A file cannot be read, or is not NDJSON.
    """
    with raised_as(BackfillError):
        for source in sources(path):
            if source.format != "ndjson":
                raise BackfillError(f"{source.path}: histories are .ndjson or .jsonl (.gz, .zst)")
            for objects, bad in read_objects(source):
                good = []
                for number, line, value in objects:
                    try:
                        id_ = ID.take("id", value.get("id"))
                        history_of(value)
                        good.append(HistoryLine(id_, f"{source.name}, line {number}", line))
                    except Fault as fault:
                        id_ = ID.valid(value.get("id"))
                        bad.append(bad_line(source, number, str(fault), line, id_))
                yield good, bad


def history_of(value: Mapping[str, object], newest: int = 0) -> tuple[str | Item, ...]:
    """Returns the newest entries of a history, oldest first; all by default.

    Raises:
        Fault: One of them is neither an id nor an item.
    """
    entries = value.get("history")
    if not isinstance(entries, list):
        raise Fault(f"history {described(entries)}, not a list of ids and items")
    return tuple(_entry(f"history[{at}]", entry) for at, entry in enumerate(entries[-newest:]))


def _entry(name: str, entry: object) -> str | Item:
    if not isinstance(entry, dict):
        id_: str = ID.take(name, entry)
        return id_
    if entry.get("title") is None:
        raise Fault(f"{name} has no title")
    item_id = "" if entry.get("id") is None else ID.take(f"{name}.id", entry["id"])
    members = ("title", "category", "description")
    return Item(item_id, *(TEXT.take(f"{name}.{member}", entry.get(member)) for member in members))
