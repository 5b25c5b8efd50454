"""`reclm-recommend data audit`, `features` and `benchmark`: output and exit status."""

from __future__ import annotations

import builtins
import json
from typing import TYPE_CHECKING, Any

import pytest

from recommenders.cli import NOT_SOUND, main
from recommenders.data.profiles import write_profiles
from recommenders.features import service
from recommenders.features.snapshot import Snapshot
from tests.recommenders.data.audit.towns import make
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from pathlib import Path

# Each of six users has four consecutive items of a cycle of six, from a different start.
CHOICES = [
    (f"u{user}", "abcdef"[(user + step) % 6], 10 * user + step)
    for user in range(6)
    for step in range(4)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    dataset(CHOICES).write(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_an_audit_that_finds_nothing_exits_with_0(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(faithful=True).write(tmp_path / "towns")
    assert main(["data", "audit", str(tmp_path / "towns"), "--split", "random"]) == 0
    assert "Verdict:        sound" in capsys.readouterr().out
    assert main(["data", "audit", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "sound"


def test_an_audit_that_finds_something_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["train", "train", "warm/validation", "warm/test"] * 6
    leaking = dataset([*CHOICES, ("u0", "a", 99)], parts=[*parts, "warm/test"])
    leaking.write(tmp_path / "leaking")
    assert main(["data", "audit", str(tmp_path / "leaking")]) == NOT_SOUND
    assert "1 of 7 interactions of warm/test are in training histories" in capsys.readouterr().out


def test_an_audit_reads_profiles_of_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(faithful=True).write(tmp_path / "towns")
    ranks = {f"i{item:03}": "bestseller " * (1 + item % 9) for item in range(150)}
    write_profiles(tmp_path / "items.jsonl", ranks)
    options = ["--split", "cold-items,share=0.4", "--item-profiles", str(tmp_path / "items.jsonl")]
    assert main(["data", "audit", str(tmp_path / "towns"), *options]) == NOT_SOUND
    shown = capsys.readouterr().out
    assert "60 of 150 profiles of items name awards or successes that came after the cut" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "lukewarm"], "kind is 'lukewarm'"),
        ([], "give either --split"),
        (["--split", "random", "--texts-only"], "give either --split"),
        (["--split", "random", "--items", "x.jsonl"], "--split and --texts-only are for the serv"),
        (["--texts-only", "--items", "x.jsonl"], "--split and --texts-only are for the serv"),
        (["--items", "none.jsonl"], "none.jsonl is missing"),
        (["--split", "leave-last-out", "--url", "http://127.0.0.1:9"], "the service at http://127"),
    ],
)
def test_features_say_what_is_wrong(
    data: Path,
    encoder_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    out = data.parent / "snapshot"
    fixed = ["features", str(data), "--out", str(out), "--encoder", str(encoder_folder)]
    assert main([*fixed, *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_features_from_a_file_become_a_snapshot(
    data: Path, tmp_path: Path, encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profiles(tmp_path / "items.jsonl", {"a": "camper", "c": "hiker"})
    out = tmp_path / "snapshot"
    arguments = ["--items", str(tmp_path / "items.jsonl"), "--encoder", str(encoder_folder)]
    assert main(["features", str(data), "--out", str(out), *arguments]) == 0
    snapshot = Snapshot.read(out)
    assert f"0 users and 2 items, 0 failed\nSnapshot {snapshot.fingerprint()}" in (
        capsys.readouterr().out
    )


def test_a_benchmark_names_what_its_file_lacks(
    tmp_path: Path, encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grid.yaml").write_text("name: x\n")
    fixed = ["--out", str(tmp_path / "out"), "--encoder", str(encoder_folder)]
    assert main(["benchmark", str(tmp_path / "grid.yaml"), *fixed]) == 1
    assert "dataset: Field required" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_the_way_to_get_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "recommenders.data.audit":
            raise ModuleNotFoundError("No module named 'scipy'", name="scipy")
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["data", "audit", str(data)]) == 1
    assert "scipy is not installed: `make recommend`" in capsys.readouterr().err


def test_an_interrupt_is_reported_without_a_traceback(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(service, "fetch", interrupted)
    out = str(data.parent / "snapshot")
    arguments = ["features", str(data), "--split", "leave-last-out", "--out", out]
    assert main(arguments) == 130
    assert "interrupted; the same command resumes" in capsys.readouterr().err
