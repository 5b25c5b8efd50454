"""Reads the results of runs: selects the best, averages over seeds, compares models."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.run import RESULT, USERS
from recommenders.significance import Comparison, Spread, holm, paired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.grid import Outcome


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

    def users(self, scenario: str, metric: str) -> dict[str, float]:
        """Returns user id -> value on the test part."""
        table = pq.read_table(
            self.runs[scenario].folder / USERS,
            columns=["user_id", metric],
            filters=[("scenario", "=", scenario)],
            partitioning=None,
        )
        ids, values = (np.asarray(table[name]).tolist() for name in ("user_id", metric))
        return dict(zip(ids, values, strict=True))


@dataclass(frozen=True, slots=True)
class ModelResults:
    """A model of the grid with one selected run per seed.

    Attributes:
        label: Its name in tables.
        model: Its name in the registry.
        variant: `base`, `augmented`, or None for a model without variants.
        chosen: Seed -> run.
        against: Label of the row that this one is compared with; by default the base variant for an
            augmented one.
    """

    label: str
    model: str
    variant: str | None
    chosen: Mapping[int, Chosen]
    against: str | None = None

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


@dataclass(frozen=True, slots=True)
class Gain:
    """The difference of two rows of a table on the same users.

    Attributes:
        name: The model of both rows, or the names of the rows.
        comparison: The first minus the second, such as augmented minus base, with the unadjusted p.
        p: The p-value, adjusted for all tests of the table (Holm).
    """

    name: str
    comparison: Comparison
    p: float


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
    for entry in experiment.models:
        if (runs_of := tried.get(entry.shown)) is not None:
            chosen = {seed: _chosen(experiment, runs) for seed, runs in sorted(runs_of.items())}
            results.append(
                ModelResults(entry.shown, entry.name, entry.variant, chosen, entry.against)
            )
    return results


def gains(results: Sequence[ModelResults], scenario: str, metric: str) -> list[Gain]:
    """Compares each row with its `against` row, by default `augmented` with `base`."""
    by_label = {one.label: one for one in results}
    bases = {one.model: one for one in results if one.variant == "base"}
    rows = Counter(one.model for one in results if one.variant == "augmented")
    pairs: list[tuple[str, ModelResults, ModelResults]] = []
    for one in results:
        if one.against is not None and (other := by_label.get(one.against)) is not None:
            pairs.append((f"{one.label}, against {other.label}", one, other))
        elif one.against is None and one.variant == "augmented" and one.model in bases:
            name = one.model if rows[one.model] == 1 else one.label
            pairs.append((name, one, bases[one.model]))
    comparisons = [compare(new, old, scenario, metric) for _, new, old in pairs]
    adjusted = holm([one.p for one in comparisons])
    return [
        Gain(name, one, float(p))
        for (name, _, _), one, p in zip(pairs, comparisons, adjusted, strict=True)
    ]


def compare(new: ModelResults, old: ModelResults, scenario: str, metric: str) -> Comparison:
    """Compares two models with a paired test over users, whose values are averaged over seeds.

    A user counts with the seeds in which both models were evaluated on them.
    """
    sums: dict[str, list[float]] = {}
    for seed in new.chosen.keys() & old.chosen.keys():
        olds = old.chosen[seed].users(scenario, metric)
        for user, value in new.chosen[seed].users(scenario, metric).items():
            if user in olds:
                entry = sums.setdefault(user, [0.0, 0.0, 0.0])
                entry[0] += value
                entry[1] += olds[user]
                entry[2] += 1
    table: NDArray[np.float64] = np.array(list(sums.values())).reshape(-1, 3)
    return paired(table[:, 0] / table[:, 2], table[:, 1] / table[:, 2])


def _chosen(experiment: Experiment, runs: list[Finished]) -> Chosen:
    part = "test" if experiment.protocol == "paper" else "validation"

    def best(scenario: str) -> Finished:
        decides = experiment.scenario or scenario
        return max(runs, key=lambda run: run.result["scenarios"][decides][part][experiment.metric])

    return Chosen({scenario: best(scenario) for scenario in runs[0].result["scenarios"]})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path} cannot be read ({error}); delete its folder") from error
    return document


def _bin(item: tuple[str, Any]) -> int:
    return int(item[0].split("-")[0].split(" ")[0])
