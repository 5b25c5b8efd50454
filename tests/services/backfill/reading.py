"""Interactions and items as the backfill reads them, and files to read."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from reclm_client import Item
from services.backfill.inputs.interactions import read_interactions
from services.backfill.inputs.readers import read_items
from services.common.tabular.blocks import BadRow

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000
Read = tuple[list[tuple[str, str, int]], list[BadRow]]


def interactions(path: Path, min_weight: float | None = None) -> Read:
    rows: list[tuple[str, str, int]] = []
    bad: list[BadRow] = []
    for batch, faults, _ in read_interactions(path, min_weight=min_weight):
        rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        bad += faults
    return rows, bad


def items(path: Path) -> tuple[list[Item], list[BadRow]]:
    entries = [entry for block in read_items(path) for entry in block]
    return (
        [entry for entry in entries if isinstance(entry, Item)],
        [entry for entry in entries if isinstance(entry, BadRow)],
    )


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)
    return path


def ndjson(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def positions(bad: list[BadRow]) -> list[tuple[str | None, str, str]]:
    return [(row.id, row.where, row.why) for row in bad]
