"""From the files of many runs to the figures of a table: chosen, averaged, compared."""

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
    """A run that came to an end: its folder, and what it wrote."""

    folder: Path
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Of a model and a seed, for each scenario the run that was best on its validation."""

    runs: Mapping[str, Finished]

    def figures(self, scenario: str) -> Mapping[str, Any]:
        """Returns what was found in a scenario."""
        found: Mapping[str, Any] = self.runs[scenario].result["scenarios"][scenario]
        return found

    def seconds(self, scenario: str) -> float:
        """Returns how much of a processor that run took to train, in seconds."""
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
    """A model of the grid, one run a seed.

    Attributes:
        label: In tables.
        model: In the registry.
        variant: `base`, `augmented`, or None where a model has none.
        chosen: Seed -> run.
        against: Label of the row that this one is tested against; by default, for an augmented
            model, the base one.
    """

    label: str
    model: str
    variant: str | None
    chosen: Mapping[int, Chosen]
    against: str | None = None

    def spread(self, scenario: str, metric: str, *, part: str = "test") -> Spread:
        """Returns a metric's mean and deviation over seeds."""
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
    """What one row of a table has over another, on the same users.

    Attributes:
        name: The model of both sides, or which row is tested against which.
        comparison: The first less the second, such as augmented less base, with the p of this test
            alone.
        p: That p, adjusted for all tests of the same table (Holm).
    """

    name: str
    comparison: Comparison
    p: float


def collect(experiment: Experiment, outcomes: Iterable[Outcome]) -> list[ModelResults]:
    """Reads what runs have written, and takes for each model, seed and scenario the best.

    Models are in the order of the grid. A model none of whose runs came to an end is left out.

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
    """Compares rows with those that they are against: `augmented` with `base` by default."""
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
    """Compares two models by a paired test over users, whose values are averaged over seeds.

    A user counts with the seeds in which both models ranked for them.
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
