"""Snapshots from files, with the real encoder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from recommenders.cli import main
from recommenders.data.dataset import INTERACTION_COLUMNS, ITEM_COLUMNS, Dataset, DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.profiles import write_profiles
from recommenders.features.encoding import encode, encoder_name
from recommenders.features.files import from_backfill, from_jsonl
from recommenders.features.snapshot import Snapshot
from recommenders.features.table import ProfileTable

if TYPE_CHECKING:
    from pathlib import Path

DATASET = Dataset(
    DatasetInfo(name="tiny", source="", licence=""),
    pa.table([["i", "j"], ["Heat", "Babe"], ["", ""], ["", ""]], schema=pa.schema(ITEM_COLUMNS)),
    pa.table([["u"], ["i"], [1], [1.0]], schema=pa.schema(INTERACTION_COLUMNS)),
)


def test_texts_become_unit_vectors_in_order_and_nothing_becomes_zeros(encoder_folder: Path) -> None:
    shown: list[int] = []
    texts = ["a film about a bank robbery", " ", "heist thriller", "a talking pig on a farm"]
    vectors = encode(texts, encoder_folder, progress=shown.append)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3]
    assert shown == [3]


def test_profiles_of_any_model_become_a_snapshot(tmp_path: Path, encoder_folder: Path) -> None:
    write_profiles(tmp_path / "items.jsonl", {"j": "farm lovers", "i": "heist lovers"})
    snapshot = from_jsonl(
        DATASET, users=None, items=tmp_path / "items.jsonl", encoder=encoder_folder
    )
    assert snapshot.users is None
    assert snapshot.items is not None
    assert snapshot.items.ids == ("j", "i")
    assert np.array_equal(snapshot.items.vectors[1:], encode(["heist lovers"], encoder_folder))
    assert snapshot.info.encoder == encoder_name(encoder_folder)
    assert snapshot.info.split is None


def test_profiles_of_new_users_are_refused(tmp_path: Path, encoder_folder: Path) -> None:
    write_profiles(tmp_path / "users.jsonl", {"u": "x", "v": "y"})
    with pytest.raises(DatasetError, match="'v' is not among the users of tiny"):
        from_jsonl(DATASET, users=tmp_path / "users.jsonl", items=None, encoder=encoder_folder)
    with pytest.raises(DatasetError, match="no profiles are given"):
        from_jsonl(DATASET, users=None, items=None, encoder=encoder_folder)


def test_profiles_of_others_are_left_out_of_a_backfill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    names = {"items": ("other", "j", "unknown"), "unknown": ("x", "y", "z")}
    for folder, ids in names.items():
        (tmp_path / folder).mkdir()
        ProfileTable(ids, ids, vectors).write(tmp_path / folder / "part-00000.parquet")
        manifest = {"complete": True, "version": {"encoder": {"name": "e", "hash": "1"}}}
        (tmp_path / folder / "manifest.json").write_text(json.dumps(manifest))
    DATASET.write(tmp_path / "data")
    arguments = ["features", str(tmp_path / "data"), "--out", str(tmp_path / "snapshot"), "--items"]
    assert main([*arguments, str(tmp_path / "items")]) == 0
    assert "items: 2 of 3 profiles are not of the items of tiny" in capsys.readouterr().err
    items = Snapshot.read(tmp_path / "snapshot").items
    assert items is not None
    assert (items.ids, items.texts, items.vectors.tolist()) == (("j",), ("j",), [[2, 3]])
    assert main([*arguments, str(tmp_path / "unknown")]) == 1
    assert "none of its 3 profiles is of the items of tiny; give" in capsys.readouterr().err


def test_a_backfill_is_a_snapshot_already(tmp_path: Path) -> None:
    for kind, name, width in (("users", "u", 2), ("items", "j", 2), ("other", "i", 3)):
        folder = tmp_path / kind
        folder.mkdir()
        rows = ProfileTable((name,), ("text",), np.ones((1, width), np.float32))
        rows.write(folder / "part-00000.parquet")
        encoder = {"name": "e", "hash": str(width)}
        manifest = {"complete": True, "version": {"encoder": encoder}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    users, items, other = (tmp_path / name for name in ("users", "items", "other"))
    snapshot = from_backfill(DATASET, users=users, items=items, split="abc")
    assert snapshot.users is not None
    assert snapshot.users.texts == ("text",)
    assert snapshot.info.source == "users items"
    assert snapshot.info.encoder == "e@2"
    with pytest.raises(DatasetError, match="vectors are by e@2 and by e@3"):
        from_backfill(DATASET, users=users, items=other)
    with pytest.raises(DatasetError, match="no profiles are given"):
        from_backfill(DATASET, users=None, items=None)

    out = tmp_path / "snapshot"
    fixed = ["features", str(tmp_path / "data"), "--out", str(out)]
    DATASET.write(tmp_path / "data")
    assert main([*fixed, "--users", str(users), "--items", str(items)]) == 0
    assert Snapshot.read(out).info.encoder == "e@2"

    (users / "manifest.json").write_text(
        '{"complete": false, "version": {"encoder": {"name": "e", "hash": "2"}}}'
    )
    with pytest.raises(DatasetError, match="is not complete"):
        from_backfill(DATASET, users=users, items=items)
    (users / "manifest.json").write_text("{}")
    with pytest.raises(DatasetError, match="not the manifest of a backfill"):
        from_backfill(DATASET, users=users, items=items)
