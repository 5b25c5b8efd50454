"""The contract of all sources in the registry: what a reader returns, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError
from recommenders.data.profiles import read_profiles, write_profiles
from recommenders.data.sources import PROFILES, SOURCES
from tests.recommenders.data.readers import (
    test_citeulike,
    test_games,
    test_gear_rec,
    test_mind,
    test_movielens,
    test_reclm,
)
from tests.recommenders.data.readers.ml_files import write_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOVIES_CSV = "movieId,title,genres\n1,Toy Story (1995),Animation|Comedy\n"
RATINGS_CSV = "userId,movieId,rating,timestamp\n7,1,4.5,978300760\n"


def ml_latest(folder: Path) -> Path:
    (folder / "movies.csv").write_text(MOVIES_CSV)
    (folder / "ratings.csv").write_text(RATINGS_CSV)
    return folder


FILES: dict[str, Callable[[Path], Path]] = {
    "reclm-mind": lambda folder: test_reclm.written(folder, "mind", test_reclm.MIND),
    "reclm-netflix": lambda folder: test_reclm.written(folder, "netflix", test_reclm.NETFLIX),
    "ml-100k": write_files,
    "ml-1m": test_movielens.ml_1m,
    "ml-latest": ml_latest,
    "ml-1m-gear": test_gear_rec.written,
    "mind": test_mind.written,
    "games-6k": test_games.written,
    "citeulike-a": test_citeulike.written,
}
"""Writes small files of each source and returns the path to read. Each source needs an entry."""


def gear_profiles(folder: Path) -> Path:
    return test_gear_rec.written(folder) / "llm_response_user.json"


def reclm_profiles(folder: Path) -> Path:
    answer = {"identity": "User identity: Fan", "interests": "User interests: Football"}
    files = {"gpt_output_dict_item_side_filter": {10: answer | {"input": "x"}}}
    return test_reclm.written(folder, "mind", files) / "data" / "mind"


PROFILE_FILES: dict[str, Callable[[Path], Path]] = {
    "ml-1m-gear-profiles": gear_profiles,
    "reclm-profiles": reclm_profiles,
}


def ignore(remark: str) -> None:
    """Ignores a remark of a reader."""


def test_every_source_has_an_example() -> None:
    assert FILES.keys() == SOURCES.keys()
    assert PROFILE_FILES.keys() == PROFILES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_a_dataset_that_can_be_written_and_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    dataset = SOURCES[name].read(FILES[name](tmp_path / "files"), ignore)
    assert dataset.items.num_rows > 0
    assert dataset.interactions.num_rows > 0
    assert dataset.info.name
    assert dataset.info.source
    assert dataset.info.licence
    dataset.write(tmp_path / "dataset")
    again = Dataset.read(tmp_path / "dataset")
    assert again.info == dataset.info
    assert again.items.equals(dataset.items)
    assert again.interactions.equals(dataset.interactions)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_names_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"missing|lacks|not a folder|no folder"):
        SOURCES[name].read(tmp_path / "nowhere", ignore)
    with pytest.raises(DatasetError, match=r"missing|lacks|no folder"):
        SOURCES[name].read(tmp_path, ignore)


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_texts_by_id(name: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    profiles = PROFILES[name].read(PROFILE_FILES[name](tmp_path / "files"))
    assert profiles
    write_profiles(tmp_path / "profiles.jsonl", profiles)
    assert read_profiles(tmp_path / "profiles.jsonl") == profiles


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_name_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"missing|lacks|neither"):
        PROFILES[name].read(tmp_path / "nowhere")


def test_the_registry_imports_no_reader() -> None:
    code = (
        "import sys, recommenders.data.sources\n"
        "found = [name for name in sys.modules if name.startswith('recommenders.data.readers')]\n"
        "sys.exit(' '.join(found) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
