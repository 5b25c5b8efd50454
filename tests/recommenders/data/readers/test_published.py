"""The published files themselves, where they are: what the readers make of them, by count."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pytest

from recommenders.data.readers.citeulike import read_citeulike
from recommenders.data.readers.games import read_games
from recommenders.data.readers.gear_rec import read_gear_rec, read_profiles
from recommenders.data.readers.reclm import read_reclm_mind, read_reclm_netflix
from recommenders.data.unpickling import load_pickle

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset

DATA = Path(
    os.environ.get("RECLM_TEST_DATA")
    or Path(__file__).resolve().parents[4].parent / "shared" / "data"
)


def place(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; RECLM_TEST_DATA may name another place")
    return folder


def counts(dataset: Dataset) -> tuple[int, int, dict[str, int]]:
    """Returns how many users and items occur, and how many interactions are in each part."""
    table = dataset.interactions
    parts = Counter(table["part"].to_pylist())
    return pc.count_distinct(table["user_id"]).as_py(), dataset.items.num_rows, dict(parts)


def items_of(dataset: Dataset, *parts: str) -> set[str]:
    chosen = dataset.interactions.filter(pc.field("part").isin(parts))
    return set(chosen["item_id"].unique().to_pylist())


def test_ml_1m_of_gear_rec() -> None:
    folder = place("ml-1m")
    dataset = read_gear_rec(folder)
    assert counts(dataset) == (6040, 3260, {"train": 801_218, "warm/test": 197_321})
    titles = dict(
        zip(*(dataset.items[name].to_pylist() for name in ("item_id", "title")), strict=True)
    )
    assert titles["1193"] == "One Flew Over the Cuckoo's Nest (1975)"
    users = read_profiles(folder / "llm_response_user.json")
    items = read_profiles(folder / "llm_response_item.json")
    assert set(users) == set(dataset.interactions["user_id"].unique().to_pylist())
    assert set(items) == set(titles)
    assert "One Flew Over the Cuckoo's Nest" in items["1193"]
    named = [titles[name].partition(" (")[0] in text for name, text in items.items()]
    assert sum(named) > 0.8 * len(named)  # that profiles are by the right film's id


def test_games_6k() -> None:
    dataset = read_games(place("amazon-games"))
    assert counts(dataset) == (50_546, 16_859, {"train": 389_718, "warm/test": 50_546})
    assert dataset.histories()["0"] == [str(item) for item in range(15)]


def test_citeulike_a() -> None:
    dataset = read_citeulike(place("citeulike-a"))
    assert counts(dataset) == (
        5551,
        16_980,
        {
            "train": 132_073,
            "warm/validation": 16_471,
            "warm/test": 16_482,
            "cold-items/validation": 19_802,
            "cold-items/test": 20_158,
        },
    )
    bare = np.asarray(dataset.items["title"]) == np.asarray(dataset.items["item_id"])
    assert bare.sum() == 3461
    warm = items_of(dataset, "train")
    assert items_of(dataset, "warm/validation", "warm/test") <= warm
    validation, test = (items_of(dataset, f"cold-items/{part}") for part in ("validation", "test"))
    assert not (validation | test) & warm
    assert not validation & test


@pytest.mark.filterwarnings("ignore:.* lacks these files")
def test_mind_of_reclms_release() -> None:
    dataset = read_reclm_mind(place("reclm-release"))
    assert counts(dataset) == (
        57_128,
        3827,
        {"train": 89_734, "warm/test": 62_046, "cold-items/test": 25_928},
    )
    assert len(items_of(dataset, "train")) == 2386
    assert len(items_of(dataset, "warm/test", "cold-items/test")) == 2461
    cold = items_of(dataset, "cold-items/test")
    assert len(cold) == 1441
    assert not cold & items_of(dataset, "train", "warm/test")


@pytest.mark.filterwarnings("ignore:.* lacks these files")
def test_netflix_of_reclms_release() -> None:
    dataset = read_reclm_netflix(place("reclm-release"))
    users, items, parts = counts(dataset)
    assert (users, items) == (16_835, 8713)
    assert sum(parts.values()) == 1_307_051
    if set(parts) == {"train", "cold-items/test"}:  # as long as the matrices are not there
        assert parts == {"train": 1_149_765, "cold-items/test": 157_286}
    cold = items_of(dataset, "cold-items/test")
    assert len(cold) == 1979
    assert not cold & items_of(dataset, "train")


def test_every_pickle_of_reclms_release_passes_the_unpickler() -> None:
    files = sorted(place("reclm-release").rglob("*.pkl"))
    assert files
    for file in files:
        load_pickle(file)
