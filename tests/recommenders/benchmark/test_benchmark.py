"""A whole grid on a small dataset: figures, tables, resuming, and what it refuses."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.benchmark import commands, grid, prepared
from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import Experiment, ModelEntry, read_experiment
from recommenders.benchmark.grid import Outcome
from recommenders.benchmark.prepared import Places, prepare
from recommenders.benchmark.results import ModelResults, collect, compare, gains
from recommenders.benchmark.run import Run, execute
from recommenders.checkpoints import Checkpoint
from recommenders.cli import main
from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError
from recommenders.features.encoding import encode, encoder_name
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from pathlib import Path

USERS, ITEMS = 40, 30
KINDS = ("heist thrillers", "talking animals")
GRID = """
name: two tastes
dataset: tiny
split: {kind: cold-items, share: 0.3, warm: 0.1}
seeds: [1, 2]
text: [title]
profiles: profiles
user_profiles: items
scenario: cold-items
training: {epochs: 4, patience: 2, batch_size: 64, learning_rate: 0.05}
models:
  - {name: lightgcn, options: {variant: base, embedding_size: 8}}
  - {name: lightgcn, options: {variant: augmented, embedding_size: 8}}
"""
CHEAP = """
name: counted
dataset: tiny
split: {kind: leave-last-out}
seeds: [1, 2]
text: [title]
models: [{name: popularity}, {name: random}]
"""


def two_tastes() -> Dataset:
    """Half of the users choose half of the items; titles say nothing, profiles will."""
    random = np.random.default_rng(0)
    choices = [
        (f"u{user}", f"i{item}", int(random.integers(1_000)))
        for user, item in itertools.product(range(USERS), range(ITEMS))
        if user % 2 == item % 2 and random.random() < 0.7
    ]
    names = [f"i{item}" for item in range(ITEMS)]
    return dataset(choices, items=names, titles=[f"number {item}" for item in range(ITEMS)])


@pytest.fixture
def places(tmp_path: Path, encoder_folder: Path) -> Places:
    two_tastes().write(tmp_path / "data" / "tiny")
    texts = tuple(f"who loves {KINDS[item % 2]}" for item in range(ITEMS))
    names = tuple(f"i{item}" for item in range(ITEMS))
    info = SnapshotInfo(
        dataset="tiny", split=None, source="by hand", encoder=encoder_name(encoder_folder)
    )
    table = ProfileTable(names, texts, encode(texts, encoder_folder))
    Snapshot(info, None, table).write(tmp_path / "data" / "profiles")
    data = tmp_path / "data"
    return Places(datasets=data, snapshots=data, encoder=encoder_folder, out=tmp_path / "out")


def run(places: Places, tmp_path: Path, text: str = GRID, *, jobs: int = 1) -> str:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return commands.benchmark(path, places, jobs=jobs, command="the command")


def test_a_grid_is_run_once_and_reported(
    places: Places, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = run(places, tmp_path)
    assert "4 runs to do, 0 done before" in capfd.readouterr().err
    for part in (
        "`the command`",
        "## cold-items",
        "## warm",
        "by hand",
        "| lightgcn base |",
        "data audit`: **sound**",
        "by ndcg@20 on cold-items's validation",
    ):
        assert part in document
    table = pq.read_table(places.out / "results.parquet").to_pylist()
    cold = {
        row["label"]: row["value"]
        for row in table
        if (row["scenario"], row["part"], row["metric"], row["seed"])
        == ("cold-items", "test", "ndcg@20", 1)
    }
    assert set(cold) == {"lightgcn base", "lightgcn augmented"}
    assert cold["lightgcn augmented"] > cold["lightgcn base"]
    page = (places.out / "results.html").read_text()
    assert page.count("<svg") == 6
    assert "<td>lightgcn augmented</td>" in page
    losses = list(places.out.glob("runs/*/losses.csv"))
    assert len(losses) == 4

    assert run(places, tmp_path) == document
    assert "0 runs to do, 4 done before" in capfd.readouterr().err
    # Another option is another run; what else there is stays.
    run(places, tmp_path, GRID.replace("augmented, embedding_size: 8", "augmented"), jobs=2)
    assert "2 runs to do, 2 done before" in capfd.readouterr().err


def test_a_run_that_fails_costs_only_itself(places: Places, tmp_path: Path) -> None:
    broken = GRID.replace(
        "  - {name: lightgcn, options: {variant: base, embedding_size: 8}}",
        "  - {name: lightgcn, options: {variant: base}, training: {learning_rate: 1.0e+30}}",
    )
    with pytest.raises(BenchmarkError, match=r"2 of 4 runs failed, the first \(lightgcn base"):
        run(places, tmp_path, broken)
    assert "lightgcn augmented" in (places.out / "results.md").read_text()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DatasetError("user row 3 has all"), "so: user row 3 has all"),
        (RuntimeError("CUDA out of memory"), "so: RuntimeError: CUDA out of memory"),
        (MemoryError(), "so: MemoryError"),
        (np.linalg.LinAlgError("Singular matrix"), "so: numpy.linalg.LinAlgError: Singular matrix"),
    ],
)
def test_a_run_may_fail_in_any_library(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fails(run: Run, *arguments: Any, **options: Any) -> None:
        if run.entry.name == "random":
            raise error
        execute(run, *arguments, **options)

    monkeypatch.setattr(grid, "execute", fails)
    with pytest.raises(BenchmarkError, match=f"2 of 4 runs failed, .* {told}$"):
        run(places, tmp_path, CHEAP)
    assert "| popularity |" in (places.out / "results.md").read_text()


def dies(outcome: Outcome, *arguments: Any) -> Outcome:
    """Runs a run, and is killed with its process where that draws lots."""
    if outcome.run.entry.name == "random":
        os._exit(9)
    return EXECUTE(outcome, *arguments)


EXECUTE = grid._execute


def test_a_process_that_is_killed_costs_only_its_run(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "_execute", dies)
    with pytest.raises(BenchmarkError, match=r"2 of 4 runs failed, .* its process was killed"):
        run(places, tmp_path, CHEAP, jobs=2)
    assert "| popularity |" in (places.out / "results.md").read_text()


@pytest.mark.parametrize("metric", ["ndcg@10", "recall@50"])
def test_a_metric_at_a_length_of_its_own_decides(
    places: Places, tmp_path: Path, metric: str
) -> None:
    text = GRID.replace("scenario: cold-items", f"metric: {metric}")
    assert f"by {metric} on each scenario's own validation" in run(places, tmp_path, text)
    for path in places.out.glob("runs/*/losses.csv"):
        with path.open(newline="") as file:
            values = [float(row["validation warm"]) for row in csv.DictReader(file)]
        figures = json.loads((path.parent / "result.json").read_text())["scenarios"]["warm"]
        assert figures["validation"][metric] == pytest.approx(max(values), abs=1e-9)
    # How much of the catalogue is shown is asked of the same lists as ever.
    shown = []
    for text in (CHEAP, f"{CHEAP}metric: {metric}\n"):
        here = replace(places, out=tmp_path / f"of {len(shown)}")
        run(here, tmp_path, text)
        found = [one["scenarios"]["warm"] | {"label": one["label"]} for one in finished(here.out)]
        shown.append(sorted((one["label"], one["coverage"], one["gini"]) for one in found))
    assert shown[0] == shown[1]


def test_a_scenario_that_the_split_has_not_is_named(places: Places) -> None:
    with pytest.raises(BenchmarkError, match="no scenario 'typo'; it has cold-items"):
        prepare(experiment(scenario="typo"), 1, places)


def experiment(**changes: object) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "x",
            "dataset": "tiny",
            "split": {"kind": "cold-items", "share": 0.3},
            "text": ("title",),
            "profiles": "profiles",
            "user_profiles": "items",
            "models": (ModelEntry(name="lightgcn"),),
            **changes,
        }
    )


def test_a_grid_is_not_run_by_several_processes_at_once(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BenchmarkError, match="each would run all of it; `--jobs`"):
        run(places, tmp_path)


def test_users_can_have_the_mean_of_what_they_chose_in_training(places: Places) -> None:
    ready = prepare(experiment(), 1, places)
    inputs = ready.inputs
    assert inputs.user_profiles is not None
    assert inputs.item_profiles is not None
    user = 3
    mean = inputs.item_profiles[ready.split.train[[user]].indices].mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    assert inputs.user_profiles[user] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "other"}, "profiles of other, not tiny"),
        ({"encoder": "other@1"}, "vectors are by other@1"),
        ({"split": "0123456789abcdef"}, "made from another split"),
    ],
)
def test_profiles_of_something_else_are_refused(
    places: Places, change: dict[str, str], message: str
) -> None:
    snapshot = Snapshot.read(places.snapshots / "profiles")
    other = Snapshot(replace(snapshot.info, **change), None, snapshot.items)
    other.write(places.snapshots / "other")
    with pytest.raises(BenchmarkError, match=message):
        prepare(experiment(profiles="other"), 1, places)


def test_users_profiles_that_nobody_vouches_for_are_refused(places: Places) -> None:
    snapshot = Snapshot.read(places.snapshots / "profiles")
    users = ProfileTable(("u0",), ("x",), np.ones((1, 384), np.float32))
    Snapshot(snapshot.info, users, snapshot.items).write(places.snapshots / "unseen")
    with pytest.raises(BenchmarkError, match="nobody can say what they read"):
        prepare(experiment(profiles="unseen", user_profiles="own"), 1, places)


def test_texts_are_encoded_once(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(experiment(), 1, places)
    monkeypatch.setattr(prepared, "encode", None)
    second = prepare(experiment(), 1, places)
    assert np.array_equal(first.inputs.text, second.inputs.text)
    assert first.digest == second.digest
    assert prepare(experiment(), 2, places).digest != first.digest


def finished(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("runs/*/result.json")]


def test_each_scenario_has_its_own_best_epoch_and_options(places: Places, tmp_path: Path) -> None:
    grid = GRID.replace("scenario: cold-items\n", "validation_users: 9\ntest_users: 12\n")
    grid = grid.replace("cold-items, share", "combined, known: 2, users: 0.3, items")
    grid = grid.replace(
        "{variant: base, embedding_size: 8}", "{variant: base}, search: {embedding_size: [2, 8]}"
    )
    document = run(places, tmp_path, grid)
    assert "by ndcg@20 on each scenario's own validation; validation ranks for 9" in document
    experiment = read_experiment(tmp_path / "grid.yaml")
    results = finished(places.out)
    assert len(results) == 6
    for result in results:
        assert set(result["scenarios"]) == {"warm", "cold-items", "cold-users"}
        assert all(figures["users"] <= 12 for figures in result["scenarios"].values())
    ready = prepare(experiment, 1, places)
    assert len(ready.split.scenarios["warm"].validation.users) > 9
    assert len(ready.scenarios["warm"].validation.users) == 9
    # The run's own validation of the parameters of a scenario is the highest that there was.
    for path in places.out.glob("runs/*/losses.csv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        figures = json.loads((path.parent / "result.json").read_text())["scenarios"]
        for name, found in figures.items():
            values = [float(row[f"validation {name}"]) for row in rows]
            assert found["validation"]["ndcg@20"] == pytest.approx(max(values), abs=1e-9)
            assert found["best_epoch"] == values.index(max(values)) + 1
    tried = [one for one in results if one["options"]["variant"] == "base"]
    table = pq.read_table(places.out / "results.parquet").to_pylist()
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
    # Validation and test of either scenario: the first options are best warm, the second cold.
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


def test_what_no_chance_is_in_is_not_repeated_on_a_split_without_any(
    places: Places, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = run(places, tmp_path, CHEAP, jobs=2)
    assert "3 runs to do, 0 done before" in capfd.readouterr().err
    popular, random = (
        next(line for line in document.splitlines() if line.startswith(f"| {name}"))
        for name in ("popularity", "random")
    )
    assert popular.count("± 0.0000") == 4
    assert random.count("± 0.0000") < 4


def test_the_papers_figures_stand_beside_those_of_its_protocol(
    places: Places, tmp_path: Path
) -> None:
    data = two_tastes()
    items = data.interactions["item_id"].to_pylist()
    parts = ["cold-items/test" if item > "i4" else "train" for item in items]
    marked = data.interactions.append_column("part", pa.array(parts))
    Dataset(data.info, data.items, marked).write(places.datasets / "tiny", replace=True)
    grid = GRID.replace("{kind: cold-items, share: 0.3, warm: 0.1}", "{kind: paper}")
    more = "protocol: paper\npaper: netflix\nvalidation_users: 5"
    grid = grid.replace("scenario: cold-items", more)
    document = run(places, tmp_path, grid)
    assert "best epoch **on the test part**" in document
    full, cold = document.split("## cold-items")
    # The epoch is chosen on the same users of the test part that validation reports.
    for path in places.out.glob("runs/*/losses.csv"):
        with path.open(newline="") as file:
            values = [float(row["validation full"]) for row in csv.DictReader(file)]
        figures = json.loads((path.parent / "result.json").read_text())["scenarios"]["full"]
        assert figures["validation"]["ndcg@20"] == pytest.approx(max(values), abs=1e-9)
        assert figures["users"] > 5
    assert re.search(r"\| lightgcn base \| [01]\.\d{4} \| 0\.0467 \| [01]\.\d{4} \| 0\.1488 ", full)
    assert re.search(r"\| lightgcn augmented \| [01]\.\d{4} \| 0\.1371 ", cold)
    with pytest.raises(BenchmarkError, match="is for `protocol: paper` alone"):
        run(places, tmp_path, grid.replace("protocol: paper\n", ""))


def test_results_are_put_into_a_document_and_its_text_is_left(tmp_path: Path) -> None:
    for name, text in (("first", "# One\n\n## warm\n\n| # |\n"), ("other", "# Two\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.md").write_text(text)
    page = tmp_path / "page.md"
    text = "# Title\n\nBy hand.\n\n<!-- results first -->\nold\n<!-- end first -->\n\nBetween.\n"
    page.write_text(text + "\n<!-- results other -->\n<!-- end other -->\n")
    arguments = ["report", *(str(tmp_path / name) for name in ("first", "other"))]
    assert main([*arguments, "--out", str(page)]) == 0
    once = page.read_text()
    assert "By hand.\n\n<!-- results first -->\n\n## One\n\n### warm\n\n| # |\n\n<!-- end" in once
    assert "Between." in once
    assert "## Two" in once
    assert "old" not in once
    assert main([*arguments, "--out", str(page)]) == 0
    assert page.read_text() == once


def test_results_are_written_whole_or_not_at_all(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.md"
    path.write_text("old")
    mode = path.stat().st_mode
    with pytest.raises(UnicodeEncodeError):
        commands.write_text(path, "half \ud800")
    assert path.read_text() == "old"
    commands.write_text(path, "new")
    assert (path.read_text(), path.stat().st_mode) == ("new", mode)
    assert [each.name for each in tmp_path.iterdir() if "page" in each.name] == ["page.md"]

    run(places, tmp_path, CHEAP)
    whole = (places.out / "results.parquet").read_bytes()

    def full(_: pa.Table, where: Path, **__: object) -> None:
        where.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        run(places, tmp_path, CHEAP)
    assert (places.out / "results.parquet").read_bytes() == whole


def test_a_report_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, folder = tmp_path / "page.md", tmp_path / "grid"
    arguments = ["report", str(folder), "--out", str(page)]
    for message in ("page.md is missing", "run its benchmark first", "has no place for grid"):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
        if not page.exists():
            page.write_text("# Title\n")
        elif not folder.exists():
            folder.mkdir()
            (folder / "results.md").write_text("# One\n")


def test_users_without_a_profile_of_their_own_can_have_that_of_their_items(places: Places) -> None:
    snapshot = Snapshot.read(places.snapshots / "profiles")
    split = prepare(experiment(), 1, places).split.fingerprint()
    users = ProfileTable(("u3", "of another"), ("x", "y"), np.eye(2, 384, dtype=np.float32))
    info = replace(snapshot.info, split=split)
    Snapshot(info, users, snapshot.items).write(places.snapshots / "some")
    found, own, means = (
        prepare(experiment(profiles="some", user_profiles=kind), 1, places)
        for kind in ("both", "own", "items")
    )
    row = found.user_ids.index("u3")
    profiles, others = found.inputs.user_profiles, np.arange(USERS) != row
    assert profiles is not None
    assert np.array_equal(profiles[row], own.inputs.user_profiles[row])
    assert np.array_equal(profiles[others], means.inputs.user_profiles[others])
    assert not own.inputs.user_profiles[others].any()
    assert "1 of their own, the others the mean" in found.profiles


def test_new_users_have_the_mean_of_what_is_known_of_them(places: Places) -> None:
    split = {"kind": "cold-users", "share": 0.5, "known": 2}
    ready = prepare(experiment(split=split), 1, places)
    assert ready.inputs.user_profiles is not None
    assert ready.inputs.item_profiles is not None
    part = ready.split.scenarios["cold-users"].test
    user = int(part.users[0])
    mean = ready.inputs.item_profiles[part.known[[user]].indices].mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    assert ready.inputs.user_profiles[user] == pytest.approx(expected, abs=1e-5)


def test_other_profiles_make_another_run_only_of_who_reads_them(
    places: Places, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(places, tmp_path)
    snapshot = Snapshot.read(places.snapshots / "profiles")
    assert snapshot.items is not None
    other = replace(snapshot.items, vectors=snapshot.items.vectors[::-1].copy())
    Snapshot(snapshot.info, None, other).write(places.snapshots / "others")
    capfd.readouterr()
    document = run(places, tmp_path, GRID.replace("profiles: profiles", "profiles: others"))
    assert "2 runs to do, 2 done before" in capfd.readouterr().err
    assert document.count("by hand (snapshot") == 1


def test_a_run_that_was_resumed_counts_all_that_it_took(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid_of = experiment(training={"epochs": 2})
    ready = prepare(grid_of, 1, places)
    one = Run(entry=grid_of.models[0], options={}, seed=1)
    (tmp_path / "run").mkdir()
    clock = itertools.count()  # a second from each look to the next
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))
    write = Checkpoint.write

    def last(checkpoint: Checkpoint, path: Path) -> None:
        write(checkpoint, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", last)
        with pytest.raises(KeyboardInterrupt):
            execute(one, grid_of, ready, tmp_path / "run")
    execute(one, grid_of, ready, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    # One second of training up to the first checkpoint, and three from the second start to the end.
    assert result["cpu_seconds"] == 1 + 3
    assert result["epochs"] == 2


class Fixed:
    """A run whose users' values are given."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def users(self, scenario: str, metric: str) -> dict[str, float]:
        return self.values


def results(variant: str, *seeds: dict[str, float], model: str = "m") -> ModelResults:
    chosen = {seed: Fixed(values) for seed, values in enumerate(seeds)}
    return ModelResults(f"{model} {variant}", model, variant, chosen)  # type: ignore[arg-type]


def test_models_are_compared_user_by_user_over_the_seeds_that_both_have() -> None:
    base = results("base", {"a": 0.0, "b": 0.5, "only": 1.0}, {"a": 0.2, "c": 0.1})
    augmented = results("augmented", {"a": 0.4, "b": 0.5}, {"a": 0.2, "c": 0.4})
    comparison = compare(augmented, base, "s", "m")
    # a: (.4 - 0 + 0) / 2 = .2, b: 0, c: .3.
    assert (comparison.n, comparison.difference) == (3, pytest.approx(0.5 / 3))


def test_p_is_adjusted_for_all_models_of_a_table() -> None:
    users = {f"u{number}": 0.01 * number for number in range(30)}
    better = {
        user: value + 0.1 + 0.05 * (number % 3)
        for number, (user, value) in enumerate(users.items())
    }
    same = {
        user: value + 0.05 * (-1) ** number for number, (user, value) in enumerate(users.items())
    }
    table = [
        results("base", users, model="a"),
        results("augmented", better, model="a"),
        results("base", users, model="b"),
        results("augmented", same, model="b"),
        results("augmented", same, model="no base"),
    ]
    first, second = gains(table, "s", "m")
    assert (first.name, second.name) == ("a", "b")
    assert first.p == pytest.approx(2 * first.comparison.p)
    assert first.p < 1e-6
    assert second.p > 0.9


def test_a_row_can_be_tested_against_any_other() -> None:
    users = {f"u{number}": 0.01 * number for number in range(30)}
    better = {user: value + 0.1 for user, value in users.items()}
    ours = replace(results("augmented", better, model="ours"), against="a augmented")
    table = [results("base", users, model="ours"), results("augmented", users, model="a"), ours]
    (gain,) = gains(table, "s", "m")
    assert gain.name == "ours augmented, against a augmented"
    assert gain.comparison.difference == pytest.approx(0.1)
