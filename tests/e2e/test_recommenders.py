"""From a dataset to a report: profiles over HTTP from the running service, training, figures."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest

from recommenders.data.dataset import Dataset
from recommenders.data.readers.movielens import fetch_ml_100k
from recommenders.data.splits.text import read_plan
from recommenders.features.service import FetchOptions, fetch
from recommenders.features.snapshot import Snapshot
from services.client import ReclmClient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Service

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(600)]

USERS, ITEMS = 200, 60
SPLIT = "cold-items,share=0.3,warm=0.1,seed=1"
GRID = """
name: MovieLens, in small
dataset: small
split: {kind: cold-items, share: 0.3, warm: 0.1}
seeds: [1]
profiles: profiles
scenario: cold-items
training: {epochs: 15, learning_rate: 0.01}
models:
  - {name: lightgcn, options: {variant: base}}
  - {name: lightgcn, options: {variant: augmented}}
"""


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


class Cut(Exception):
    pass


def test_profiles_from_the_service_become_figures(service: Service, tmp_path: Path) -> None:
    data = tmp_path / "small"
    dataset = small(fetch_ml_100k())
    dataset.write(data)
    audit = command("data", "audit", data, "--split", SPLIT, "--json")
    assert audit.returncode in {0, 3}, audit.stderr
    assert json.loads(audit.stdout)["dataset"] == "ml-100k"

    # Cut off in the middle, it goes on, and asks for nothing twice.
    out = tmp_path / "profiles"
    items_before = catalogue(service)
    split = read_plan(SPLIT).divide(dataset)
    options = FetchOptions(history=5, neighbours=3)

    def cut(kind: str, done: int, wanted: int, failed: int) -> None:
        if done == ITEMS // 2:
            raise Cut

    with pytest.raises(Cut):
        fetch(dataset, split, out, url=service.url, options=options, progress=cut)
    assert not out.exists()
    told: list[tuple[str, int]] = []
    fetch(
        dataset,
        split,
        out,
        url=service.url,
        options=options,
        progress=lambda kind, done, wanted, failed: told.append((kind, done)),
    )
    assert told[0] == ("item", ITEMS // 2 + 1)
    snapshot = Snapshot.read(out)
    assert snapshot.items is not None
    assert snapshot.users is not None
    assert len(snapshot.items.ids) + len(snapshot.users.ids) + snapshot.info.failed == ITEMS + USERS
    assert snapshot.info.failed <= 0.05 * (ITEMS + USERS)
    assert snapshot.users.texts[0].startswith("User identity: ")
    assert catalogue(service) == items_before

    # The command, for the same split, finds all of it in the cache.
    arguments = ("--history", "5", "--neighbours", "3", "--url", service.url)
    again = command("features", data, "--split", SPLIT, "--out", tmp_path / "again", *arguments)
    assert again.returncode == 0, again.stderr
    second = Snapshot.read(tmp_path / "again")
    for had, has in ((snapshot.items, second.items), (snapshot.users, second.users)):
        assert has is not None
        assert has.texts_of(had.ids) == list(had.texts)

    # From the texts alone there are items only, which every split may use.
    few = dataset.items.slice(0, 5)
    known = pc.is_in(dataset.interactions["item_id"], value_set=few["item_id"])
    tiny = Dataset(dataset.info, few, dataset.interactions.filter(known))
    texts = fetch(tiny, None, tmp_path / "texts", url=service.url)
    assert texts.info.split is None
    assert texts.users is None
    assert texts.items is not None
    assert len(texts.items.ids) + texts.info.failed == 5

    grid = tmp_path / "grid.yaml"
    grid.write_text(GRID)
    report = command("benchmark", grid, "--data", tmp_path, "--out", tmp_path / "report")
    assert report.returncode == 0, report.stderr
    assert "| lightgcn augmented |" in report.stdout
    assert snapshot.fingerprint() in report.stdout
    for name in ("results.md", "results.html", "results.parquet"):
        assert (tmp_path / "report" / name).is_file()

    # Another seed is another split: these profiles may have read what it asks for.
    grid.write_text(GRID.replace("seeds: [1]", "seeds: [2]"))
    refused = command("benchmark", grid, "--data", tmp_path, "--out", tmp_path / "report")
    assert refused.returncode == 1
    assert "made from another split" in refused.stderr
