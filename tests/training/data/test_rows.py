from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from training.data.rows import ProfileRow, fingerprint, read_rows
from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"\n", "has no rows"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b'\n{"id": 1}', r"line 2: id: Input should be a valid string"),
    ],
)
def test_what_are_no_rows_is_told_of(tmp_path: Path, written: bytes, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(written)
    with pytest.raises(TrainingError, match=message):
        read_rows(ProfileRow, path)


def test_a_damaged_manifest_beside_the_rows_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(TrainingError, match=r"manifest.json is not JSON"):
        fingerprint(tmp_path / "rows.jsonl", 1)
