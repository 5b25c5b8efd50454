"""What several end-to-end tests stand on: a small dataset, profiled by the running service."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest

from reclm_client import ReclmClient
from recommenders.data.dataset import Dataset
from recommenders.data.readers.movielens import fetch_ml_100k
from recommenders.data.splits.text import read_plan
from recommenders.features.service import FetchOptions, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Service

USERS, ITEMS = 200, 60
SPLIT = "cold-items,share=0.3,warm=0.1,seed=1"


@dataclass(frozen=True, slots=True)
class Profiled:
    """A small dataset and its profiles.

    Attributes:
        folder: Holds the dataset `small` and the snapshot `profiles`.
        told: What was told of progress after the fetching had been cut off.
        catalogue: Ids of items that the service's catalogue has gained meanwhile.
    """

    folder: Path
    dataset: Dataset
    told: list[tuple[str, int]] = field(default_factory=list)
    catalogue: set[str] = field(default_factory=set)


class Cut(Exception):
    pass


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recommenders.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def catalogue(service: Service) -> set[str]:
    with ReclmClient(service.url) as client:
        return {item.id for item in client.items()}


def small(whole: Dataset) -> Dataset:
    """The films that most people chose, and the first users who chose three of them."""
    counts = whole.interactions.group_by("item_id").aggregate([("user_id", "count")])
    films = counts.sort_by([("user_id_count", "descending"), ("item_id", "ascending")])["item_id"]
    wanted = films.slice(0, ITEMS)
    chosen = whole.interactions.filter(pc.is_in(whole.interactions["item_id"], value_set=wanted))
    users = chosen.group_by("user_id").aggregate([("item_id", "count")])
    busy = users.filter(pc.field("item_id_count") >= 3)["user_id"].slice(0, USERS)
    return Dataset(
        whole.info,
        whole.items.filter(pc.is_in(whole.items["item_id"], value_set=wanted)),
        chosen.filter(pc.is_in(chosen["user_id"], value_set=busy)),
    )


@pytest.fixture(scope="session")
def profiled(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """Profiles by the service, fetched with a cut in the middle: it goes on where it was."""
    folder = tmp_path_factory.mktemp("profiled")
    dataset = small(fetch_ml_100k())
    dataset.write(folder / "small")
    profiled = Profiled(folder, dataset)
    out = folder / "profiles"
    before = catalogue(service)
    split = read_plan(SPLIT).divide(dataset)
    options = FetchOptions(history=5, neighbours=3)

    def cut(kind: str, done: int, wanted: int, failed: int) -> None:
        if done == ITEMS // 2:
            raise Cut

    with pytest.raises(Cut):
        fetch(dataset, split, out, url=service.url, options=options, progress=cut)
    assert not out.exists()
    fetch(
        dataset,
        split,
        out,
        url=service.url,
        options=options,
        progress=lambda kind, done, wanted, failed: profiled.told.append((kind, done)),
    )
    profiled.catalogue.update(catalogue(service) - before)
    return profiled
