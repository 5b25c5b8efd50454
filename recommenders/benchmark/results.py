"""Reads the results of runs: selects the best, averages over seeds, compares rows."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.ranks import RANKS, cells, read_ranks
from recommenders.benchmark.run import RESULT
from recommenders.benchmark.settling import CLEARLY, SUMS
from recommenders.crossed import standard_error
from recommenders.significance import Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from recommenders.benchmark.controls import Control
    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.grid import Outcome
    from recommenders.benchmark.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: its folder and its `result.json`."""

    folder: Path
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """For a model and a seed: for each scenario the run that is best on its validation part."""

    runs: Mapping[str, Finished]

    def figures(self, scenario: str) -> Mapping[str, Any]:
        """Returns the results of a scenario."""
        found: Mapping[str, Any] = self.runs[scenario].result["scenarios"][scenario]
        return found

    def seconds(self, scenario: str) -> float:
        """Returns the processor time of the run's training in seconds."""
        return float(self.runs[scenario].result["cpu_seconds"])

    def ranks(self, scenario: str, part: str = "test") -> Ranks:
        """Returns the rank of every relevant item of a part."""
        return _ranks(self.runs[scenario].folder, scenario, part)


@dataclass(frozen=True, slots=True)
class ModelResults:
    """A model of the grid with one selected run per seed.

    Attributes:
        label: Its name in tables.
        model: Its name in the registry.
        variant: `base`, `augmented`, or None for a model without variants.
        chosen: Seed -> run.
        against: Label of the row that this one is compared with; None for none.
        control: What it reads in place of profiles; None for a row that is no control.
        of: Label of the row whose control it is.
    """

    label: str
    model: str
    variant: str | None
    chosen: Mapping[int, Chosen]
    against: str | None = None
    control: Control | None = None
    of: str | None = None

    def spread(self, scenario: str, metric: str, *, part: str = "test") -> Spread:
        """Returns a metric's mean and standard deviation over seeds."""
        runs = self.chosen.values()
        return Spread.of([run.figures(scenario)[part][metric] for run in runs])

    def bins(self, scenario: str, kind: str, metric: str) -> dict[str, Spread]:
        """Returns a metric by bin of `by_history` or `by_popularity`, in the order of the bins."""
        values: dict[str, list[float]] = {}
        for run in self.chosen.values():
            for label, means in run.figures(scenario)[kind].items():
                values.setdefault(label, []).append(means[metric])
        return {label: Spread.of(each) for label, each in sorted(values.items(), key=_bin)}


def collect(experiment: Experiment, outcomes: Iterable[Outcome]) -> list[ModelResults]:
    """Reads the results of runs, and selects the best for each model, seed and scenario.

    Models are in the order of the grid. A model without a finished run is left out.

    Raises:
        BenchmarkError: A result cannot be read.
    """
    tried: dict[str, dict[int, list[Finished]]] = {}
    for outcome in outcomes:
        if outcome.error is None:
            one = Finished(outcome.folder, _read(outcome.folder / RESULT))
            seeds = tried.setdefault(outcome.run.entry.shown, {})
            seeds.setdefault(outcome.run.seed, []).append(one)
    results = []
    for entry in experiment.rows:
        if (runs_of := tried.get(entry.shown)) is not None:
            chosen = {seed: _chosen(experiment, runs) for seed, runs in sorted(runs_of.items())}
            results.append(
                ModelResults(
                    entry.shown,
                    entry.name,
                    entry.variant,
                    chosen,
                    entry.against,
                    entry.control,
                    entry.of,
                )
            )
    return results


def _chosen(experiment: Experiment, runs: list[Finished]) -> Chosen:
    part = "test" if experiment.protocol == "paper" else "validation"

    def best(scenario: str) -> Finished:
        decides = experiment.scenario or scenario
        value = {
            run.folder: run.result["scenarios"][decides][part][experiment.metric] for run in runs
        }
        first = max(runs, key=lambda run: value[run.folder])
        if not first.result.get("options", {}).get("profile_weight"):
            return first
        bare = [run for run in runs if run.result["options"].get("profile_weight") == 0]
        if not bare:
            return first
        text = max(bare, key=lambda run: value[run.folder])
        better = is_better(
            _ranks(first.folder, decides, part),
            _ranks(text.folder, decides, part),
            experiment.metric,
        )
        return first if better else text

    return Chosen({scenario: best(scenario) for scenario in runs[0].result["scenarios"]})


def is_better(new: Ranks, old: Ranks, metric: str) -> bool:
    """Returns whether a run is better than another on a part by more than `CLEARLY` errors.

    Without that, shuffled profiles win a little on some validation parts, and lose on the test
    part. A metric that is no sum over relevant items cannot tell its error; the new run is kept.
    """
    if metric.partition("@")[0] not in SUMS:
        return True
    pairs = cells({0: new}, {0: old}, metric)
    if pairs is None:
        return False
    return float(pairs.differences.sum()) > CLEARLY * standard_error(pairs) * float(
        pairs.shares.sum()
    )


@functools.lru_cache(maxsize=24)
def _ranks(folder: Path, scenario: str, part: str) -> Ranks:
    """Reads a run's ranks; the last ones are kept, as most rows are compared several times."""
    try:
        return read_ranks(folder / RANKS, scenario, part)
    except OSError as error:
        raise BenchmarkError(
            f"{folder / RANKS} cannot be read ({error}); delete its folder"
        ) from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path} cannot be read ({error}); delete its folder") from error
    return document


def _bin(item: tuple[str, Any]) -> int:
    return int(item[0].split("-")[0].split(" ")[0])
