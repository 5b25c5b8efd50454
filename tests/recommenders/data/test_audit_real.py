"""The audit's verdicts on the published datasets, if they are present."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path

import pytest

from recommenders.data.audit import run_audit
from recommenders.data.audit.alignment import Sampling
from recommenders.data.dataset import INFO, Dataset
from recommenders.data.splits import PublishedSplit
from services.common.home import reclm_home

DATA = Path(
    os.environ.get("RECLM_TEST_DATA")
    or Path(__file__).resolve().parents[3].parent / "shared" / "data"
)
QUICK = Sampling(permutations=199)
SOUND = {
    "ml-1m": "gear_rec.read_gear_rec",
    "amazon-games": "games.read_games",
    "citeulike-a": "citeulike.read_citeulike",
    "reclm-release/data/netflix": "reclm.read_reclm_netflix",
}


def read(folder: str, reader: str) -> Dataset:
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not there; RECLM_TEST_DATA may name another place")
    module, _, name = reader.partition(".")
    try:
        readers = importlib.import_module(f"recommenders.data.readers.{module}")
    except ModuleNotFoundError as error:
        pytest.skip(f"there is no reader {reader}: {error}")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # some files of the release are missing, as its reader reports
        dataset: Dataset = getattr(readers, name)(DATA / folder)
    return dataset


@pytest.mark.parametrize("folder", SOUND)
def test_sound_datasets_pass(folder: str) -> None:
    audit = run_audit(read(folder, SOUND[folder]), sampling=QUICK)
    assert audit.alignment_verdict == "aligned"
    assert all(found.p == 1 / 200 for found in audit.alignment if found.verdict != "untested")
    assert audit.reasons == ()
    assert audit.verdict == "sound"
    assert audit.split is not None
    assert audit.split.startswith("published")


def test_ml_100k_passes() -> None:
    folder = reclm_home() / "data" / "ml-100k"
    if not (folder / INFO).is_file():
        pytest.skip(f"{folder} is not there; `reclm-recommend data get ml-100k` makes it")
    audit = run_audit(folder, sampling=QUICK)
    assert [found.verdict for found in audit.alignment] == ["aligned", "aligned"]
    assert audit.verdict == "sound"


def test_the_text_of_the_releases_mind_is_not_that_of_its_interactions() -> None:
    dataset = read("reclm-release/data/mind", "reclm.read_reclm_mind")
    audit = run_audit(dataset, sampling=QUICK)
    assert [found.verdict for found in audit.alignment] == ["not aligned", "not aligned"]
    assert all(abs(found.z) < 3 for found in audit.alignment)
    assert audit.verdict == "not sound"
    assert audit.reasons[0].startswith("text is not aligned")


def test_netflix_has_its_published_cold_items() -> None:
    dataset = read("reclm-release/data/netflix", SOUND["reclm-release/data/netflix"])
    split = PublishedSplit(seed=1).divide(dataset)
    assert split.name == "published(cold-items/validation=half of the test items, seed=1)"
    assert split.train.nnz == 1_149_765
    parts = split.scenarios["cold-items"]
    assert parts.validation.relevant.nnz + parts.test.relevant.nnz == 157_286
