"""The audit's verdicts on the published datasets, if they are present."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from recommenders.data.audit import run_audit
from recommenders.data.audit.alignment import Sampling
from recommenders.data.dataset import INFO, Dataset
from recommenders.data.splits import PublishedSplit, parse
from services.common.home import reclm_home

DATA = Path(
    os.environ.get("RECLM_TEST_DATA")
    or Path(__file__).resolve().parents[3].parent / "shared" / "data"
)
QUICK = Sampling(permutations=199)
SOUND = {
    "ml-1m": "gear_rec.read_gear_rec",
    "amazon-games": "games.read_games",
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


def ml_100k() -> Dataset:
    folder = reclm_home() / "data" / "ml-100k"
    if not (folder / INFO).is_file():
        pytest.skip(f"{folder} is not there; `reclm-recommend data get ml-100k` makes it")
    return Dataset.read(folder)


def shifted(dataset: Dataset, rows: int) -> Dataset:
    """Gives each item the title of the item so many rows before; categories stay right."""
    order = (np.arange(dataset.items.num_rows) - rows) % dataset.items.num_rows
    column = dataset.items.column_names.index("title")
    titles = dataset.items["title"].take(order)
    items = dataset.items.set_column(column, "title", titles)
    return Dataset(dataset.info, items, dataset.interactions)


def test_ml_100k_passes() -> None:
    audit = run_audit(ml_100k(), split=parse("random"), sampling=QUICK)
    assert [found.verdict for found in audit.alignment] == ["aligned", "aligned"]
    assert audit.reasons == ()


def test_citeulikes_number_of_tags_knows_how_popular_papers_will_be() -> None:
    audit = run_audit(read("citeulike-a", "citeulike.read_citeulike"), sampling=QUICK)
    assert audit.alignment_verdict == "aligned"
    assert all(reason.startswith("the number of ") for reason in audit.reasons)
    (leak,) = (leak for leak in audit.text_leaks if leak.by == "fields" and leak.recall is not None)
    assert leak.leaks
    assert leak.recall == pytest.approx(0.054, abs=0.003)
    assert leak.recall_by_chance == pytest.approx(0.0118, abs=0.0003)
    assert audit.verdict == "not sound"


@pytest.mark.parametrize("rows", [1, 200])
def test_titles_of_ml_latest_that_slipped_are_not_sound(rows: int) -> None:
    dataset = read("ml-latest-small", "movielens.read_ml_latest")
    whole = run_audit(dataset, split=parse("random"), sampling=QUICK)
    assert whole.reasons == ()
    audit = run_audit(shifted(dataset, rows), sampling=QUICK)
    assert [found.verdict for found in audit.alignment] == ["not aligned", "aligned"]
    assert audit.verdict == "not sound"


def test_titles_of_ml_100k_that_slipped_by_one_are_not_sound() -> None:
    text, category = run_audit(shifted(ml_100k(), 1), sampling=QUICK).alignment
    assert (text.verdict, category.verdict) == ("not aligned", "aligned")
    assert text.best_shift == 1


def test_the_last_tenth_of_ml_latest_asks_of_too_few_users() -> None:
    dataset = read("ml-latest-small", "movielens.read_ml_latest")
    audit = run_audit(dataset, split=parse("time"), sampling=QUICK)
    assert any(
        reason.startswith("warm/test asks about 8 users; below 50") for reason in audit.reasons
    )


@pytest.mark.parametrize(("kind", "sound"), [("time", False), ("leave-last-out", True)])
def test_the_positions_of_games_are_an_order_and_no_time(kind: str, sound: bool) -> None:
    dataset = read("amazon-games", SOUND["amazon-games"])
    cuts = {"cuts": [5, 7]} if kind == "time" else {}
    audit = run_audit(dataset, split=parse({"kind": kind, **cuts}), sampling=QUICK)
    assert (audit.times.kind, audit.times.order) == ("positions", "meaningful")
    assert audit.times.reasons(kind) == [] if sound else audit.verdict == "not sound"


def test_ml_1m_in_shuffled_rows_has_no_last_one() -> None:
    audit = run_audit(read("ml-1m", SOUND["ml-1m"]), split=parse("leave-last-out"), sampling=QUICK)
    assert any("all interactions have one time" in reason for reason in audit.reasons)


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
