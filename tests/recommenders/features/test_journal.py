"""The journal of a partial snapshot: complete lines are kept, an incomplete last one is dropped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reclm_client import Component, Profile, ProfileVersion
from recommenders.data.errors import DatasetError
from recommenders.features.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

PART = Component("x", "1")


def profile(text: str, *vector: float) -> Profile:
    return Profile(
        status="generated",
        kind="user",
        id="somebody",
        identities=(),
        interests=(),
        text=text,
        input_hash="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        version=ProfileVersion(PART, None, PART, PART),
        embedding=vector,
    )


def test_a_journal_continues_after_its_last_complete_line(tmp_path: Path) -> None:
    path = tmp_path / "users.ndjson"
    with Journal(path) as journal:
        journal.add("a", profile("à\n", 0.5, -1))
        journal.add("b", profile("b", 2, 3))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])

    with Journal(path) as journal:
        assert "a" in journal
        assert "c" not in journal
        journal.add("c", profile("c", 4, 5))
    with Journal(path) as journal:
        table = journal.table(["c", "never", "a"])
    assert (table.ids, table.texts) == (("c", "a"), ("c", "à\n"))
    assert np.array_equal(table.vectors, np.array([[4, 5], [0.5, -1]], np.float32))


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.ndjson"
    path.write_text('{"id": "a"}\n')
    with pytest.raises(DatasetError, match="is damaged"), Journal(path):
        pass


def test_vectors_of_two_lengths_are_no_table(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add("a", profile("a", 1))
        journal.add("b", profile("b", 1, 2))
        with pytest.raises(DatasetError, match="different lengths"):
            journal.table(["a", "b"])
        assert journal.table([]).vectors.shape == (0, 0)
