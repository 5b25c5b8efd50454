from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.profiles.domain.profile import Component, ProfileVersion
from services.profiles.errors import DamagedBundle, MismatchedBundle
from services.profiles.scoring import bundle as bundles
from services.profiles.scoring.scorer import open_scorer
from tests.support.bundles import ENCODER, little, little_weights, record, tower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSION = ProfileVersion(
    base_model=Component("base", "1"),
    adapter=None,
    prompt=Component("prompt", "2"),
    encoder=Component(**ENCODER),
)
PARTS = json.loads(VERSION.to_json())


def rewrite(path: Path, file: str, write: Callable[[Path], Any]) -> None:
    """Replaces a file of a bundle and has the manifest vouch for it."""
    write(path / file)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][file] = record(path / file)
    (path / "manifest.json").write_text(json.dumps(manifest))


def array(values: Any, dtype: Any = np.float32) -> Callable[[Path], None]:
    return lambda file: np.save(file, np.array(values, dtype))


def test_a_bundle_is_read(tmp_path: Path) -> None:
    bundle = bundles.load(little().write(tmp_path, "b-1"))
    assert bundle.manifest.name == "b-1"
    assert bundle.item_rows == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert bundle.user_rows == {"known": 0}
    assert bundle.seen(0).tolist() == [0]
    assert bundle.seen(None).tolist() == []
    assert bundle.arrays["item_vectors"].tolist() == [[1, 0], [2, 0], [0, 1], [0, 2]]


def test_a_bundle_without_users_is_read(tmp_path: Path) -> None:
    made = little()
    made.user_ids = []
    made.arrays |= {
        "user_vectors": np.empty((0, 2), np.float32),
        "seen_indptr": np.zeros(1, np.int64),
        "seen_indices": np.empty(0, np.int32),
    }
    assert bundles.load(made.write(tmp_path, "b")).user_rows == {}


def test_arrays_are_mapped_and_not_copied(tmp_path: Path) -> None:
    vectors = bundles.load(little().write(tmp_path, "b")).arrays["item_vectors"]
    assert not vectors.flags.writeable
    assert isinstance(vectors.base, np.memmap)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"format": 3}, "has format 3, and this service reads formats 1 and 2"),
        ({"name": "other"}, "is that of 'other'"),
        ({"name": "../b"}, "name:"),
        ({"kind": "trees"}, "kind:"),
        ({"n_items": 5}, "items.parquet has 4 rows"),
        ({"n_users": 2}, "users.parquet has 1 rows"),
        ({"dimension": 3}, "item_vectors.npy is float32 of shape (4, 2)"),
        ({"history_dimension": 3}, "history_vectors.npy is float32 of shape (4, 2)"),
        ({"profile_dimension": 7}, "user_tower.onnx cannot be run"),
        ({"kind": "weights"}, "does not list item_weights.npy"),
        ({"files": {"../x": {"sha256": "0" * 64, "bytes": 1}}}, "files"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    made = little()
    made.changed = changed
    with pytest.raises(DamagedBundle) as caught:
        open_scorer(made.write(tmp_path, "b"), VERSION)
    assert says in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff"])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = little().write(tmp_path, "b")
    (path / "manifest.json").write_bytes(raw)
    with pytest.raises(DamagedBundle, match=r"manifest\.json"):
        bundles.load(path)


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = little().write(tmp_path, "b")
    raw = bytearray((path / "item_bias.npy").read_bytes())
    raw[-1] ^= 1
    (path / "item_bias.npy").write_bytes(raw)
    with pytest.raises(DamagedBundle, match=r"item_bias\.npy does not have the checksum"):
        bundles.load(path)


def test_a_file_that_was_cut_or_lost_is_refused(tmp_path: Path) -> None:
    path = little().write(tmp_path, "b")
    file = path / "item_vectors.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DamagedBundle, match=r"has \d+ bytes, and the manifest says \d+"):
        bundles.load(path)
    file.unlink()
    with pytest.raises(DamagedBundle, match=r"item_vectors\.npy: No such file"):
        bundles.load(path)


@pytest.mark.parametrize(
    ("file", "write", "says"),
    [
        ("item_bias.npy", array([0, 0, 0, 0], np.float64), "is float64 of shape (4,)"),
        ("item_bias.npy", array([0, 0, np.nan, 0]), "not finite"),
        ("item_bias.npy", lambda file: file.write_bytes(b"no array"), "not a plain NumPy array"),
        ("item_bias.npy", array([{}], object), "not a plain NumPy array"),
        ("seen_indptr.npy", array([0, 2], np.int64), "does not divide"),
        ("seen_indptr.npy", array([1, 1], np.int64), "does not divide"),
        ("seen_indices.npy", array([4], np.int32), "names rows that no item has"),
        ("seen_indices.npy", array([-1], np.int32), "names rows that no item has"),
        ("neighbours_scores.npy", array([[0]]), "neighbours_scores.npy"),
        (
            "items.parquet",
            lambda file: pq.write_table(pa.table({"item_id": ["a", "b", "a", "d"]}), file),
            "1 item id(s) come twice",
        ),
        (
            "items.parquet",
            lambda file: pq.write_table(pa.table({"item_id": ["a", None, "c", "d"]}), file),
            "1 of them null",
        ),
        (
            "items.parquet",
            lambda file: pq.write_table(pa.table({"other": ["a", "b", "c", "d"]}), file),
            "no column 'item_id'",
        ),
        ("items.parquet", lambda file: file.write_bytes(b"PAR1"), "no column 'item_id'"),
        ("user_tower.onnx", lambda file: file.write_bytes(b"no model"), "cannot be run"),
        (
            "user_tower.onnx",
            lambda file: onnx.save(tower(np.eye(2, 3, dtype=np.float32), np.eye(384, 3, dtype=np.float32), None), file),
            "should write finite numbers of shape (2, 2)",
        ),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, file: str, write: Callable[[Path], Any], says: str
) -> None:
    path = little().write(tmp_path, "b")
    rewrite(path, file, write)
    with pytest.raises(DamagedBundle) as caught:
        open_scorer(path, VERSION)
    assert says in caught.value.detail


def test_a_bundle_of_the_same_encoder_and_profiles_is_taken(tmp_path: Path) -> None:
    made = little()
    made.profiles = PARTS
    assert open_scorer(made.write(tmp_path, "b"), VERSION).name == "b"


def test_a_bundle_of_another_encoder_is_refused_and_both_are_named(tmp_path: Path) -> None:
    path = little(encoder={"name": "letters", "hash": "other"}).write(tmp_path, "b")
    with pytest.raises(MismatchedBundle) as caught:
        open_scorer(path, VERSION)
    assert caught.value.data["differences"] == [
        {"what": "encoder", "bundle": "letters (other)", "service": "letters (abc)"}
    ]
    assert "encoder is letters (other) in the bundle and letters (abc)" in caught.value.detail


def test_a_bundle_of_other_profiles_is_refused_and_each_part_is_named(tmp_path: Path) -> None:
    made = little()
    made.profiles = {
        **PARTS,
        "adapter": {"name": "tuned", "hash": "9"},
        "prompt": {"name": "prompt", "hash": "3"},
    }
    with pytest.raises(MismatchedBundle) as caught:
        open_scorer(made.write(tmp_path, "b"), VERSION)
    assert caught.value.data["differences"] == [
        {"what": "profiles.adapter", "bundle": "tuned (9)", "service": "none"},
        {"what": "profiles.prompt", "bundle": "prompt (3)", "service": "prompt (2)"},
    ]  # fmt: skip


def test_a_bundle_that_reads_no_profiles_fits_any_service(tmp_path: Path) -> None:
    assert not open_scorer(little_weights().write(tmp_path, "b"), VERSION).reads_profiles
