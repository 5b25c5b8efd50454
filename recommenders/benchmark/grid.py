"""Runs what of a grid has not been run yet, several at a time, each in a process of its own."""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import differing
from recommenders.benchmark.prepared import Places, prepare
from recommenders.benchmark.run import RESULT, Run, execute
from recommenders.evaluation import EvaluationError
from recommenders.models.errors import ModelError
from recommenders.team import joined, processes_started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run: its folder, or why it failed."""

    run: Run
    folder: Path
    error: str | None = None


def run_grid(
    experiment: Experiment,
    places: Places,
    *,
    jobs: int = 1,
    device: str = "cpu",
    tell: Callable[[str], object],
) -> list[Outcome]:
    """Runs the grid; what is done already is not done again.

    Args:
        experiment: The grid.
        places: Where data is and results go.
        jobs: Runs at a time.
        device: Where models are trained, `cpu` or `cuda`.
        tell: Told what is done, in lines.

    Returns:
        What became of each run, those of before included. A run that fails costs only itself.

    Raises:
        DatasetError, BenchmarkError: The data cannot be prepared, or the processes were started as
            those of one training.
        ModelError: There is no such device.
    """
    if (processes := processes_started()) > 1:
        raise BenchmarkError(
            f"a grid was started in {processes} processes, of which each would run all of it; "
            "`--jobs` runs several models at a time, and `train` trains one in several processes"
        )
    with joined(device):
        pass  # says at once whether there is such a device
    outcomes: list[Outcome] = []
    for seed in experiment.seeds:
        prepared = _prepared(experiment, seed, places)
        for entry in experiment.models:
            for options in entry.candidates():
                run = Run(entry=entry, options=options, seed=seed)
                folder = places.out / "runs" / run.key(experiment, prepared, device)
                outcomes.append(Outcome(run, folder))
    # Where nothing depends on the seed, several seeds share a run.
    unique = {outcome.folder: outcome for outcome in reversed(outcomes)}
    todo = [one for one in outcomes if unique[one.folder] is one and not _is_done(one)]
    tell(f"{len(todo)} runs to do, {len(unique) - len(todo)} done before")
    started = time.monotonic()
    errors: dict[Path, str | None] = {}
    for number, outcome in enumerate(_outcomes(todo, experiment, places, jobs, device), start=1):
        errors[outcome.folder] = outcome.error
        spent = time.monotonic() - started
        left = spent / number * (len(todo) - number)
        tell(
            f"{number}/{len(todo)} {outcome.run.entry.shown}, seed {outcome.run.seed}"
            f"{_options(outcome.run)}: {outcome.error or 'done'} ({spent:.0f} s, {left:.0f} s left)"
        )
    return [Outcome(one.run, one.folder, errors.get(one.folder)) for one in outcomes]


def _is_done(outcome: Outcome) -> bool:
    return (outcome.folder / RESULT).is_file()


def _outcomes(
    todo: list[Outcome], experiment: Experiment, places: Places, jobs: int, device: str
) -> Iterator[Outcome]:
    """Yields what became of runs, as they end; a single job at a time runs in this process."""
    if jobs == 1 or len(todo) < 2:
        for one in todo:
            yield _execute(one, experiment, places, device)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Spawned, since a forked torch may hang in its threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _set_threads, (threads,)) as pool:
        for future in as_completed(
            [pool.submit(_execute, one, experiment, places, device) for one in todo]
        ):
            yield future.result()


def _execute(outcome: Outcome, experiment: Experiment, places: Places, device: str) -> Outcome:
    prepared = _prepared(experiment, outcome.run.seed, places)
    try:
        with joined(device) as team:
            execute(outcome.run, experiment, prepared, outcome.folder, team=team)
    except (ModelError, EvaluationError) as error:
        return Outcome(outcome.run, outcome.folder, str(error))
    return outcome


_CACHED = functools.lru_cache(maxsize=1)


@_CACHED
def _prepared_by_text(document: str, seed: int, places: Places) -> Prepared:
    from recommenders.benchmark.experiment import Experiment

    return prepare(Experiment.model_validate_json(document), seed, places)


def _prepared(experiment: Experiment, seed: int, places: Places) -> Prepared:
    """Prepares a seed, or returns what this process has prepared last."""
    prepared = _prepared_by_text(experiment.model_dump_json(), seed, places)
    if experiment.scenario is not None and experiment.scenario not in prepared.split.scenarios:
        known = ", ".join(prepared.split.scenarios)
        raise BenchmarkError(f"the split has no scenario {experiment.scenario!r}; it has {known}")
    return prepared


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _options(run: Run) -> str:
    tried = {name: run.options[name] for name in run.entry.search}
    return f" ({differing(tried)})" if tried else ""
