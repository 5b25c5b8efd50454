"""`reclm-recommend train` and `export`, from a dataset's folder to a bundle."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recommenders.benchmark.experiment import read_experiment
from recommenders.cli import main
from recommenders.data.splits.text import read_plan
from recommenders.export.trained import Trained
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable
from tests.recommenders.data.tiny import dataset
from tests.recommenders.export.reader import Reader
from tests.recommenders.member import Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from recommenders.distributed import DistributedContext

USERS, ITEMS = 30, 16
VERSION = {
    "base_model": {"name": "m", "hash": "1"},
    "adapter": None,
    "prompt": {"name": "p", "hash": "2"},
    "encoder": {"name": "encoder", "hash": "3"},
}
GRID = """
name: two tastes
dataset: tiny
split: {kind: random}
seeds: [4, 5]
text: [title]
profiles: profiles
user_profiles: own
training: {max_steps: 12, eval_steps: 4, batch_size: 64, learning_rate: 0.05}
models:
  - {name: popularity}
  - {name: ease, search: {regularisation: [1, 100000]}}
  - {name: bias_mf, options: {variant: augmented, embedding_size: 8}}
"""


def two_tastes() -> Dataset:
    random = np.random.default_rng(0)
    choices = [
        (f"u{user}", f"i{item}", int(random.integers(1_000)))
        for user, item in itertools.product(range(USERS), range(ITEMS))
        if user % 2 == item % 2 and random.random() < 0.9
    ]
    names = [f"i{item}" for item in range(ITEMS)]
    return dataset(choices, items=names, titles=[f"number {item}" for item in range(ITEMS)])


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECLM_HOME", str(tmp_path))
    monkeypatch.setattr("recommenders.benchmark.prepared.encoder_name", lambda _: "encoder@3")
    monkeypatch.setattr(
        "recommenders.benchmark.prepared.encode",
        lambda texts, *_, **__: np.ones((len(texts), 4), np.float32),
    )
    whole = two_tastes()
    whole.write(tmp_path / "data" / "tiny")
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    split = read_experiment(path).plan(4).divide(whole)
    tables = [
        ProfileTable(names, names, np.eye(4, dtype=np.float32)[np.arange(len(names)) % 2])
        for names in (tuple(f"u{n}" for n in range(USERS)), tuple(f"i{n}" for n in range(ITEMS)))
    ]
    info = SnapshotInfo(
        dataset="tiny",
        split=split.fingerprint(),
        source="m@1 p@2 encoder@3",
        encoder="encoder@3",
        version=VERSION,
    )
    Snapshot(info, *tables).write(tmp_path / "data" / "profiles")
    assert Snapshot.read(tmp_path / "data" / "profiles").info.version == VERSION
    return path


def train(grid: Path, label: str, *, status: int = 0) -> Path:
    out = grid.parent / "models" / label
    arguments = ["train", str(grid), "--model", label, "--out", str(out)]
    assert main([*arguments, "--encoder", str(grid.parent)]) == status
    return out


def test_a_model_is_trained_and_exported(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(grid, "bias_mf augmented")
    assert "warm/test/recall@20: " in capsys.readouterr().out
    assert main(["export", str(folder)]) == 0
    (bundle,) = (grid.parent / "bundles").iterdir()
    out = capsys.readouterr().out
    assert out.startswith(f"Bundle {bundle.name}, ")
    assert f"MiB, in {bundle}" in out
    reader, trained = Reader(bundle), Trained.read(folder)
    manifest = reader.manifest
    assert manifest["encoder"] == VERSION["encoder"]
    assert manifest["profiles"] == VERSION
    assert manifest["model"]["options"]["user_profiles"] == "own"
    assert manifest["dataset"]["name"] == "tiny"
    plan = read_plan("random,seed=4")
    assert manifest["split"]["fingerprint"] == plan.divide(two_tastes()).fingerprint()
    assert manifest["metrics"]["warm/test/recall@20"] > 0
    assert reader.item_ids == [f"i{item}" for item in range(ITEMS)]
    user = reader.user_ids[3]
    row = list(trained.user_ids).index(user)
    expected = trained.model.scores(np.array([row]), trained.train[[row]])[0]
    np.testing.assert_allclose(reader.known(user), expected, rtol=1e-5, atol=1e-5)

    assert main(["export", str(folder), "--out", str(grid.parent / "other"), "--name", "x"]) == 0
    assert main(["export", str(folder), "--out", str(grid.parent / "other"), "--name", "x"]) == 1
    assert "there already" in capsys.readouterr().err


def test_the_options_that_are_best_on_validation_are_taken(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(grid, "ease")
    assert capsys.readouterr().err.count("on validation") == 2
    document = json.loads((folder / "trained.json").read_bytes())
    assert document["model"]["options"]["regularisation"] in {1, 100000}
    assert document["seed"] == 4


def test_what_cannot_be_trained_says_why(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(grid, "lightgcn", status=1)
    assert "there is no model 'lightgcn'; the file has 'popularity', 'ease'" in (
        capsys.readouterr().err
    )
    assert main(["train", str(grid), "--out", str(grid.parent / "m")]) == 1
    assert "no model is named" in capsys.readouterr().err
    grid.write_text(f"{GRID}scenario: typo\n")
    train(grid, "bias_mf augmented", status=1)
    assert "the split has no scenario 'typo'; it has warm" in capsys.readouterr().err
    grid.write_text(GRID)
    train(grid, "popularity")
    train(grid, "popularity", status=1)
    assert "there already" in capsys.readouterr().err


def test_of_several_processes_only_the_first_saves_the_model(
    grid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def second(_: str) -> Iterator[DistributedContext]:
        yield Member(2, 1)

    monkeypatch.setattr("recommenders.distributed.joined", second)
    assert not train(grid, "bias_mf augmented").exists()
    assert capsys.readouterr() == ("", "")
    assert not train(grid, "ease").exists()
