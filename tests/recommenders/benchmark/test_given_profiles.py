"""The profiles that models of a grid get, and those that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recommenders.benchmark import prepared
from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.prepared import BenchmarkPaths, prepare
from recommenders.features.snapshot import Snapshot
from recommenders.features.table import ProfileTable
from tests.recommenders.benchmark.tiny_grid import GRID, USERS, experiment, run

if TYPE_CHECKING:
    from pathlib import Path


def test_users_can_have_the_mean_of_what_they_chose_in_training(paths: BenchmarkPaths) -> None:
    ready = prepare(experiment(), 1, paths)
    inputs = ready.inputs
    assert inputs.user_profiles is not None
    assert inputs.item_profiles is not None
    user = 3
    mean = inputs.item_profiles[ready.split.train[[user]].indices].mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    assert inputs.user_profiles[user] == pytest.approx(expected, abs=1e-5)


def test_users_without_a_profile_of_their_own_can_have_that_of_their_items(
    paths: BenchmarkPaths,
) -> None:
    snapshot = Snapshot.read(paths.snapshots / "profiles")
    split = prepare(experiment(), 1, paths).split.fingerprint()
    users = ProfileTable(("u3", "of another"), ("x", "y"), np.eye(2, 384, dtype=np.float32))
    info = replace(snapshot.info, split=split)
    Snapshot(info, users, snapshot.items).write(paths.snapshots / "some")
    found, own, means = (
        prepare(experiment(profiles="some", user_profiles=kind), 1, paths)
        for kind in ("both", "own", "items")
    )
    row = found.user_ids.index("u3")
    profiles, others = found.inputs.user_profiles, np.arange(USERS) != row
    assert profiles is not None
    assert np.array_equal(profiles[row], own.inputs.user_profiles[row])
    assert np.array_equal(profiles[others], means.inputs.user_profiles[others])
    assert not own.inputs.user_profiles[others].any()
    assert "1 of their own, the others the mean" in found.profiles


def test_new_users_have_the_mean_of_their_known_items(paths: BenchmarkPaths) -> None:
    split = {"kind": "cold-users", "share": 0.5, "known": 2}
    ready = prepare(experiment(split=split), 1, paths)
    assert ready.inputs.user_profiles is not None
    assert ready.inputs.item_profiles is not None
    part = ready.split.scenarios["cold-users"].test
    user = int(part.users[0])
    mean = ready.inputs.item_profiles[part.known[[user]].indices].mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    assert ready.inputs.user_profiles[user] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "other"}, "profiles of other, not tiny"),
        ({"encoder": "other@1"}, "vectors are by other@1"),
        ({"split": "0123456789abcdef"}, "made for another split"),
    ],
)
def test_profiles_of_something_else_are_refused(
    paths: BenchmarkPaths, change: dict[str, str], message: str
) -> None:
    snapshot = Snapshot.read(paths.snapshots / "profiles")
    other = Snapshot(replace(snapshot.info, **change), None, snapshot.items)
    other.write(paths.snapshots / "other")
    with pytest.raises(BenchmarkError, match=message):
        prepare(experiment(profiles="other"), 1, paths)


def test_users_profiles_of_unknown_histories_are_refused(paths: BenchmarkPaths) -> None:
    snapshot = Snapshot.read(paths.snapshots / "profiles")
    users = ProfileTable(("u0",), ("x",), np.ones((1, 384), np.float32))
    Snapshot(snapshot.info, users, snapshot.items).write(paths.snapshots / "unseen")
    with pytest.raises(BenchmarkError, match="of unknown histories"):
        prepare(experiment(profiles="unseen", user_profiles="own"), 1, paths)


def test_texts_are_encoded_once(paths: BenchmarkPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(experiment(), 1, paths)
    monkeypatch.setattr(prepared, "encode", None)
    second = prepare(experiment(), 1, paths)
    assert np.array_equal(first.inputs.text, second.inputs.text)
    assert first.digest == second.digest
    assert prepare(experiment(), 2, paths).digest != first.digest


def test_other_profiles_make_another_run_only_of_models_that_read_them(
    paths: BenchmarkPaths, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(paths, tmp_path)
    snapshot = Snapshot.read(paths.snapshots / "profiles")
    assert snapshot.items is not None
    other = replace(snapshot.items, vectors=snapshot.items.vectors[::-1].copy())
    Snapshot(snapshot.info, None, other).write(paths.snapshots / "others")
    capfd.readouterr()
    document = run(paths, tmp_path, GRID.replace("profiles: profiles", "profiles: others"))
    assert "2 runs to do, 2 done before" in capfd.readouterr().err
    assert document.count("by hand (snapshot") == 1
