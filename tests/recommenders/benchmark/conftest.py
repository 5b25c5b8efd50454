"""The folders of a small benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.benchmark.prepared import BenchmarkPaths
from recommenders.features.encoding import encode, encoder_name
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable
from tests.recommenders.benchmark.tiny_grid import ITEMS, KINDS, two_tastes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path, encoder_folder: Path) -> BenchmarkPaths:
    two_tastes().write(tmp_path / "data" / "tiny")
    texts = tuple(f"who loves {KINDS[item % 2]}" for item in range(ITEMS))
    names = tuple(f"i{item}" for item in range(ITEMS))
    info = SnapshotInfo(
        dataset="tiny", split=None, source="by hand", encoder=encoder_name(encoder_folder)
    )
    table = ProfileTable(names, texts, encode(texts, encoder_folder))
    Snapshot(info, None, table).write(tmp_path / "data" / "profiles")
    data = tmp_path / "data"
    return BenchmarkPaths(
        datasets=data, snapshots=data, encoder=encoder_folder, out=tmp_path / "out"
    )
