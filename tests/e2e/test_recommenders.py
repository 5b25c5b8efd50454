"""From a dataset to a report: profiles over HTTP from the running service, training, figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest

from recommenders.data.dataset import Dataset
from recommenders.features.service import fetch
from recommenders.features.snapshot import Snapshot
from tests.e2e.conftest import ITEMS, SPLIT, USERS, command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Profiled
    from tests.support.servers import Service

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(600)]

GRID = """
name: MovieLens, in small
dataset: small
split: {kind: cold-items, share: 0.3, warm: 0.1}
seeds: [1]
profiles: profiles
scenario: cold-items
training: {max_steps: 400, learning_rate: 0.01}
models:
  - {name: lightgcn, options: {variant: base}}
  - {name: lightgcn, options: {variant: augmented}}
"""


def test_profiles_from_the_service_become_figures(
    service: Service, profiled: Profiled, tmp_path: Path
) -> None:
    data = profiled.folder / "small"
    audit = command("data", "audit", data, "--split", SPLIT, "--json")
    assert audit.returncode in {0, 3}, audit.stderr
    assert json.loads(audit.stdout)["dataset"] == "ml-100k"

    # Cut off in the middle, it went on, and asked for nothing twice.
    assert profiled.told[0] == ("item", ITEMS // 2 + 1)
    snapshot = Snapshot.read(profiled.folder / "profiles")
    assert snapshot.items is not None
    assert snapshot.users is not None
    assert len(snapshot.items.ids) + len(snapshot.users.ids) + snapshot.info.failed == ITEMS + USERS
    assert snapshot.info.failed <= 0.05 * (ITEMS + USERS)
    assert snapshot.users.texts[0].startswith("User identity: ")
    assert not profiled.catalogue  # items travelled inside the requests

    # The command, for the same split, finds all of it in the cache.
    arguments = ("--history", "5", "--neighbours", "3", "--url", service.url)
    again = command("features", data, "--split", SPLIT, "--out", tmp_path / "again", *arguments)
    assert again.returncode == 0, again.stderr
    second = Snapshot.read(tmp_path / "again")
    for had, has in ((snapshot.items, second.items), (snapshot.users, second.users)):
        assert has is not None
        assert has.texts_of(had.ids) == list(had.texts)

    # From the texts alone there are items only, which every split may use.
    dataset = profiled.dataset
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
    report = command("benchmark", grid, "--data", profiled.folder, "--out", tmp_path / "report")
    assert report.returncode == 0, report.stderr
    assert "| lightgcn augmented |" in report.stdout
    assert snapshot.fingerprint() in report.stdout
    for name in ("results.md", "results.html", "results.parquet"):
        assert (tmp_path / "report" / name).is_file()

    # Another seed is another split: these profiles may have read what it asks for.
    grid.write_text(GRID.replace("seeds: [1]", "seeds: [2]"))
    refused = command("benchmark", grid, "--data", profiled.folder, "--out", tmp_path / "report")
    assert refused.returncode == 1
    assert "made for another split" in refused.stderr
