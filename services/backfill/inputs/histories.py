"""Histories, one NDJSON object each: the form of the job's failures, so that they come back in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client import Item
from services.backfill.errors import BackfillError
from services.backfill.inputs.files import shown, sources
from services.backfill.inputs.ndjson_files import read_objects
from services.backfill.inputs.values import described, id_fault, id_of, readable_id, text_of
from services.backfill.rows import BadRow

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
    for source in sources(path):
        if source.format != "ndjson":
            raise BackfillError(f"{source.path}: histories come as .ndjson or .jsonl (also .gz)")
        for objects, bad in read_objects(source):
            good = []
            for number, line, value in objects:
                where = f"{source.name}, line {number}"
                fault = _fault(value)
                if fault is None:
                    good.append(HistoryLine(id_of(value["id"]) or "", where, line))
                else:
                    bad.append(BadRow(readable_id(value.get("id")), where, fault, shown(line)))
            yield good, bad


def history_of(value: Mapping[str, object], newest: int) -> tuple[str | Item, ...]:
    """Returns the newest entries of a history that has been checked, oldest first."""
    entries = value["history"]
    return tuple(map(_entry, entries[-newest:] if isinstance(entries, list) else ()))


def _entry(value: object) -> str | Item:
    if not isinstance(value, dict):
        return id_of(value) or ""
    title, category, description = (
        text_of(value.get(name)) or "" for name in ("title", "category", "description")
    )
    return Item(id_of(value.get("id")) or "", title, category, description)


def _fault(value: Mapping[str, object]) -> str | None:
    if fault := id_fault("id", value.get("id")):
        return fault
    entries = value.get("history")
    if not isinstance(entries, list):
        return f"history {described(entries)}, not a list of ids and items"
    for index, entry in enumerate(entries):
        name = f"history[{index}]"
        fault = _item_fault(name, entry) if isinstance(entry, dict) else id_fault(name, entry)
        if fault is not None:
            return fault
    return None


def _item_fault(name: str, item: Mapping[str, object]) -> str | None:
    if item.get("id") is not None and (fault := id_fault(f"{name}.id", item["id"])):
        return fault
    if item.get("title") is None:
        return f"{name} has no title"
    for member in ("title", "category", "description"):
        if text_of(item.get(member)) is None:
            return f"{name}.{member} {described(item[member])}, not a string"
    return None
