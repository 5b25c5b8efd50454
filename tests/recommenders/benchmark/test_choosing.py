"""A grid shows the step and the options that are best on validation."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import ModelEntry, read_experiment
from recommenders.benchmark.grid import Outcome
from recommenders.benchmark.prepared import BenchmarkPaths, prepare
from recommenders.benchmark.results import collect
from recommenders.benchmark.run import Run
from recommenders.data.dataset import Dataset
from tests.recommenders.benchmark.tiny_grid import (
    CHEAP,
    GRID,
    experiment,
    finished,
    run,
    two_tastes,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("metric", ["ndcg@10", "recall@50"])
def test_a_metric_with_any_cutoff_can_select(
    paths: BenchmarkPaths, tmp_path: Path, metric: str
) -> None:
    text = GRID.replace("scenario: cold-items", f"metric: {metric}")
    assert f"by {metric} on each scenario's own validation" in run(paths, tmp_path, text)
    logs = list(paths.out.glob("runs/*/losses.csv"))
    assert logs
    for path in logs:
        with path.open(newline="") as file:
            values = [float(row["validation warm"]) for row in csv.DictReader(file)]
        figures = json.loads((path.parent / "result.json").read_text())["scenarios"]["warm"]
        assert figures["validation"][metric] == pytest.approx(max(values), abs=1e-9)
    # Coverage is computed from lists of the same length for every metric.
    shown = []
    for text in (CHEAP, f"{CHEAP}metric: {metric}\n"):
        here = replace(paths, out=tmp_path / f"of {len(shown)}")
        run(here, tmp_path, text)
        found = [one["scenarios"]["warm"] | {"label": one["label"]} for one in finished(here.out)]
        shown.append(sorted((one["label"], one["coverage"], one["gini"]) for one in found))
    assert shown[0] == shown[1]


def test_an_unknown_scenario_is_named(paths: BenchmarkPaths) -> None:
    with pytest.raises(BenchmarkError, match="no scenario 'typo'; it has cold-items"):
        prepare(experiment(scenario="typo"), 1, paths)


def test_each_scenario_has_its_own_best_step_and_options(
    paths: BenchmarkPaths, tmp_path: Path
) -> None:
    grid = GRID.replace("scenario: cold-items\n", "validation_users: 9\ntest_users: 12\n")
    grid = grid.replace("cold-items, share", "combined, known: 2, users: 0.3, items")
    grid = grid.replace(
        "{variant: base, embedding_size: 8}", "{variant: base}, search: {embedding_size: [2, 8]}"
    )
    document = run(paths, tmp_path, grid)
    assert "by ndcg@20 on each scenario's own validation; at most 9 users in validation" in document
    experiment = read_experiment(tmp_path / "grid.yaml")
    results = finished(paths.out)
    assert len(results) == 6
    for result in results:
        assert set(result["scenarios"]) == {"warm", "cold-items", "cold-users"}
        assert all(figures["users"] <= 12 for figures in result["scenarios"].values())
    ready = prepare(experiment, 1, paths)
    assert len(ready.split.scenarios["warm"].validation.users) > 9
    assert len(ready.scenarios["warm"].validation.users) == 9
    # Each scenario has the parameters with its highest validation during training.
    logs = list(paths.out.glob("runs/*/losses.csv"))
    assert logs
    for path in logs:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        figures = json.loads((path.parent / "result.json").read_text())["scenarios"]
        assert figures
        for name, found in figures.items():
            values = [float(row[f"validation {name}"]) for row in rows]
            assert found["validation"]["ndcg@20"] == pytest.approx(max(values), abs=1e-9)
            best = int(rows[values.index(max(values))]["step"])
            assert (found["best_step"], found["max_steps"]) == (best, 16)
            assert found["not_converged"] == (best > 14.4)
    tried = [one for one in results if one["options"]["variant"] == "base"]
    table = pq.read_table(paths.out / "results.parquet").to_pylist()
    for name in ("warm", "cold-items", "cold-users"):
        shown = {
            row["value"]
            for row in table
            if (row["label"], row["scenario"], row["part"], row["metric"])
            == ("lightgcn base", name, "validation", "ndcg@20")
        }
        assert shown <= {one["scenarios"][name]["validation"]["ndcg@20"] for one in tried}
        assert max(one["scenarios"][name]["validation"]["ndcg@20"] for one in tried) in shown


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, {"warm": 0.1, "cold-items": 0.9}),
        ({"scenario": "warm"}, {"warm": 0.1, "cold-items": 0.2}),
        ({"protocol": "paper"}, {"warm": 0.3, "cold-items": 0.9}),
    ],
)
def test_options_are_chosen_by_validation_for_each_scenario(
    tmp_path: Path, changes: dict[str, Any], shown: dict[str, float]
) -> None:
    # Validation and test of each scenario: the first options are best warm, the second cold.
    tried = {
        "first": {"warm": (0.8, 0.1), "cold-items": (0.4, 0.2)},
        "second": {"warm": (0.7, 0.3), "cold-items": (0.5, 0.9)},
    }
    entry = ModelEntry(name="lightgcn")
    outcomes = []
    for name, figures in tried.items():
        (tmp_path / name).mkdir()
        scenarios = {
            scenario: {"validation": {"ndcg@20": first}, "test": {"ndcg@20": second}}
            for scenario, (first, second) in figures.items()
        }
        (tmp_path / name / "result.json").write_text(json.dumps({"scenarios": scenarios}))
        outcomes.append(Outcome(Run(entry=entry, options={}, seed=1), tmp_path / name))
    (found,) = collect(experiment(models=(entry,), **changes), outcomes)
    assert {name: found.spread(name, "ndcg@20").mean for name in shown} == shown


def test_the_papers_results_are_shown_beside_ours(paths: BenchmarkPaths, tmp_path: Path) -> None:
    data = two_tastes()
    items = data.interactions["item_id"].to_pylist()
    parts = ["cold-items/test" if item > "i4" else "train" for item in items]
    marked = data.interactions.append_column("part", pa.array(parts))
    Dataset(data.info, data.items, marked).write(paths.datasets / "tiny", replace=True)
    grid = GRID.replace("{kind: cold-items, share: 0.3, warm: 0.1}", "{kind: paper}")
    more = "protocol: paper\npaper: netflix\nvalidation_users: 5"
    grid = grid.replace("scenario: cold-items", more)
    document = run(paths, tmp_path, grid)
    assert "best step **on the test part**" in document
    full, cold = document.split("## cold-items")
    # The step is selected on the users of the test part that validation reports.
    logs = list(paths.out.glob("runs/*/losses.csv"))
    assert logs
    for path in logs:
        with path.open(newline="") as file:
            values = [float(row["validation full"]) for row in csv.DictReader(file)]
        figures = json.loads((path.parent / "result.json").read_text())["scenarios"]["full"]
        assert figures["validation"]["ndcg@20"] == pytest.approx(max(values), abs=1e-9)
        assert figures["users"] > 5
    assert re.search(r"\| lightgcn base \| [01]\.\d{4} \| 0\.0467 \| [01]\.\d{4} \| 0\.1488 ", full)
    assert re.search(r"\| lightgcn augmented \| [01]\.\d{4} \| 0\.1371 ", cold)
    with pytest.raises(BenchmarkError, match="it needs `protocol: paper`"):
        run(paths, tmp_path, grid.replace("protocol: paper\n", ""))
