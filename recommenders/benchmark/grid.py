"""Runs a grid: skips finished runs, and runs several at a time in separate processes."""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from traceback import format_exception_only
from typing import TYPE_CHECKING

from numpy.linalg import LinAlgError

from recommenders.benchmark.controls import missing
from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import differing
from recommenders.benchmark.prepared import BenchmarkPaths, prepare
from recommenders.benchmark.run import RESULT, Run, execute
from recommenders.data.errors import DatasetError
from recommenders.distributed import joined, processes_started
from recommenders.evaluation import EvaluationError
from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.prepared import Prepared

_DOMAIN_ERRORS = (ModelError, EvaluationError, DatasetError, BenchmarkError)
_LIBRARY_ERRORS = (RuntimeError, MemoryError, LinAlgError)
"""Errors of libraries: out of memory, on the host or on a GPU, or a singular matrix."""

_KILLED = "its process was killed, possibly because memory ran out"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run: its folder, and the error if it failed."""

    run: Run
    folder: Path
    error: str | None = None


def run_grid(
    experiment: Experiment,
    paths: BenchmarkPaths,
    *,
    jobs: int = 1,
    device: str = "cpu",
    progress: Callable[[str], object],
) -> list[Outcome]:
    """Runs the grid; finished runs are skipped.

    Args:
        experiment: The grid.
        paths: Folders of data and results.
        jobs: Number of runs at a time.
        device: The device for training, `cpu` or `cuda`.
        progress: Called with a line after each run.

    Returns:
        The outcome of each run, including those that were finished before. A failed run does not
        affect the others.

    Raises:
        DatasetError, BenchmarkError: The data cannot be prepared, or this is one of several processes
            of a distributed training.
        ModelError: The device does not exist.
    """
    if (processes := processes_started()) > 1:
        raise BenchmarkError(
            f"a grid was started in {processes} processes, each of which would run all of it; "
            "`--jobs` runs several models at a time, and `train` trains one in several processes"
        )
    with joined(device):
        pass  # fails at once if the device does not exist
    outcomes: list[Outcome] = []
    for seed in experiment.seeds:
        prepared = _prepared(experiment, seed, paths)
        for entry in experiment.rows:
            if entry.control is not None and (why := missing(prepared.inputs, entry.control)):
                progress(f"{entry.shown} is left out: {why}")
                continue
            for options in entry.candidates():
                run = Run(entry=entry, options=options, seed=seed)
                folder = paths.out / "runs" / run.key(experiment, prepared, device)
                outcomes.append(Outcome(run, folder))
    # If nothing depends on the seed, several seeds share a run.
    unique = {outcome.folder: outcome for outcome in reversed(outcomes)}
    todo = [one for one in outcomes if unique[one.folder] is one and not _is_done(one)]
    progress(f"{len(todo)} runs to do, {len(unique) - len(todo)} done before")
    started = time.monotonic()
    errors: dict[Path, str | None] = {}
    for number, outcome in enumerate(_outcomes(todo, experiment, paths, jobs, device), start=1):
        errors[outcome.folder] = outcome.error
        spent = time.monotonic() - started
        left = spent / number * (len(todo) - number)
        progress(
            f"{number}/{len(todo)} {outcome.run.entry.shown}, seed {outcome.run.seed}"
            f"{_options(outcome.run)}: {outcome.error or 'done'} ({spent:.0f} s, {left:.0f} s left)"
        )
    return [Outcome(one.run, one.folder, errors.get(one.folder)) for one in outcomes]


def _is_done(outcome: Outcome) -> bool:
    return (outcome.folder / RESULT).is_file()


def _outcomes(
    todo: list[Outcome], experiment: Experiment, paths: BenchmarkPaths, jobs: int, device: str
) -> Iterator[Outcome]:
    """Yields the outcomes as runs end; a single job at a time runs in this process."""
    if jobs == 1 or len(todo) < 2:
        for one in todo:
            yield _execute(one, experiment, paths, device)
        return
    lost = []
    for outcome in _in_processes(todo, experiment, paths, jobs, device):
        if outcome.error == _KILLED:
            lost.append(outcome)
        else:
            yield outcome
    # Run these one at a time, to find out which of them had its process killed.
    for outcome in lost:
        one = Outcome(outcome.run, outcome.folder)
        yield from _in_processes([one], experiment, paths, 1, device)


def _in_processes(
    todo: list[Outcome], experiment: Experiment, paths: BenchmarkPaths, jobs: int, device: str
) -> Iterator[Outcome]:
    """Yields the outcomes of runs; if a process is killed, all unfinished runs fail."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Spawned, since a forked torch may hang in its threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _set_threads, (threads,)) as pool:
        futures = {pool.submit(_execute, one, experiment, paths, device): one for one in todo}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                yield Outcome(futures[future].run, futures[future].folder, _KILLED)


def _execute(
    outcome: Outcome, experiment: Experiment, paths: BenchmarkPaths, device: str
) -> Outcome:
    prepared = _prepared(experiment, outcome.run.seed, paths)
    try:
        with joined(device) as distributed:
            execute(outcome.run, experiment, prepared, outcome.folder, context=distributed)
    except _DOMAIN_ERRORS as error:
        return Outcome(outcome.run, outcome.folder, str(error))
    except _LIBRARY_ERRORS as error:
        return Outcome(outcome.run, outcome.folder, "".join(format_exception_only(error)).strip())
    return outcome


_CACHED = functools.lru_cache(maxsize=1)


@_CACHED
def _prepared_by_text(document: str, seed: int, paths: BenchmarkPaths) -> Prepared:
    from recommenders.benchmark.experiment import Experiment

    return prepare(Experiment.model_validate_json(document), seed, paths)


def _prepared(experiment: Experiment, seed: int, paths: BenchmarkPaths) -> Prepared:
    """Prepares a seed; the last one is cached in this process."""
    return _prepared_by_text(experiment.model_dump_json(), seed, paths)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _options(run: Run) -> str:
    tried = {name: run.options[name] for name in run.entry.trials}
    return f" ({differing(tried)})" if tried else ""
