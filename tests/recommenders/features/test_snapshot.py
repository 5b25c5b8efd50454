"""Tables of profiles, and snapshots."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.data.errors import DatasetError
from recommenders.features.snapshot import MANIFEST, Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable

if TYPE_CHECKING:
    from pathlib import Path

INFO = SnapshotInfo(dataset="d", split="abc", source="m@1", encoder="e@1", failed=1)


def table(*ids: str) -> ProfileTable:
    vectors = np.arange(2 * len(ids), dtype=np.float32).reshape(len(ids), 2) / 3
    return ProfileTable(ids, tuple(f"text of {id_}" for id_ in ids), vectors)


def test_vectors_and_texts_are_in_the_requested_order() -> None:
    profiles = table("a", "b")
    assert np.array_equal(
        profiles.aligned(["b", "never", "a", "b"]),
        np.array([[2, 3], [0, 0], [0, 1], [2, 3]], np.float32) / 3,
    )
    assert profiles.texts_of(["never", "b"]) == ["", "text of b"]
    assert profiles.aligned([]).shape == (0, 2)


def test_errors_of_a_table_are_named() -> None:
    with pytest.raises(DatasetError, match="'a' occurs twice"):
        table("a", "b", "a")
    with pytest.raises(DatasetError, match="the vector of 'b' is not finite"):
        ProfileTable(("a", "b"), ("", ""), np.array([[0.0], [np.nan]], np.float32))
    with pytest.raises(DatasetError, match="2 ids, 1 texts"):
        ProfileTable(("a", "b"), ("",), np.zeros((2, 3), np.float32))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    snapshot = Snapshot(INFO, table("u"), None)
    snapshot.write(tmp_path / "s")
    again = Snapshot.read(tmp_path / "s")
    assert again.info == INFO
    assert again.items is None
    assert again.users is not None
    assert (again.users.ids, again.users.texts) == (("u",), ("text of u",))
    # Half precision, as the service stores them.
    expected = np.array([[0, 1 / 3]], np.float32).astype(np.float16).astype(np.float32)
    assert np.array_equal(again.users.vectors, expected)


def test_a_fingerprint_stands_for_every_profile_and_where_it_is_from() -> None:
    snapshot = Snapshot(INFO, table("u"), table("i"))
    others = [
        Snapshot(replace(INFO, split="abd"), table("u"), table("i")),
        Snapshot(INFO, table("u", "v"), table("i")),
        Snapshot(INFO, table("u"), None),
        Snapshot(INFO, ProfileTable(("u",), ("other",), table("u").vectors), table("i")),
        Snapshot(INFO, ProfileTable(("u",), ("text of u",), table("u").vectors + 1), table("i")),
    ]
    assert snapshot.fingerprint() == Snapshot(INFO, table("u"), table("i")).fingerprint()
    assert len({one.fingerprint() for one in (snapshot, *others)}) == 6


def test_a_snapshot_is_never_written_over(tmp_path: Path) -> None:
    Snapshot(INFO, table("u"), None).write(tmp_path / "s")
    with pytest.raises(DatasetError, match="is not empty; choose another"):
        Snapshot(INFO, table("v"), None).write(tmp_path / "s")


def test_exchanged_profiles_are_found_out(tmp_path: Path) -> None:
    Snapshot(INFO, table("u"), None).write(tmp_path / "s")
    table("v").write(tmp_path / "s" / "users.parquet")
    with pytest.raises(DatasetError, match="differ from manifest"):
        Snapshot.read(tmp_path / "s")


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"fingerprint": "x", "colour": 1}'])
def test_a_manifest_that_is_none_is_named(tmp_path: Path, document: str) -> None:
    (tmp_path / MANIFEST).write_text(document)
    with pytest.raises(DatasetError, match="not the manifest of a snapshot"):
        Snapshot.read(tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(DatasetError, match=r"manifest\.json is missing"):
        Snapshot.read(tmp_path)


def test_the_parts_of_a_backfill_are_one_table(tmp_path: Path) -> None:
    for number, ids in enumerate((["a", "b"], ["c"])):
        table(*ids).write(tmp_path / f"part-0000{number}.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    (tmp_path / "_work").mkdir()
    table("unfinished").write(tmp_path / "_work" / "x.parquet")
    assert ProfileTable.read(tmp_path).ids == ("a", "b", "c")


def test_files_that_hold_no_profiles_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match="has no column text, vector"):
        ProfileTable.read(tmp_path / "x.parquet")
    mixed = pa.table({"id": ["a", "b"], "text": ["", ""], "vector": [[1.0], [1.0, 2.0]]})
    pq.write_table(mixed, tmp_path / "y.parquet")
    with pytest.raises(DatasetError, match=r"vectors of different lengths: \[1, 2\]"):
        ProfileTable.read(tmp_path / "y.parquet")
    with pytest.raises(DatasetError, match="is missing"):
        ProfileTable.read(tmp_path / "z.parquet")
