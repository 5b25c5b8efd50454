"""Trains one model of a grid as the benchmark does, and keeps it with its provenance."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.benchmark.prepared import prepare
from recommenders.benchmark.run import Run, fit, validation_part
from recommenders.benchmark.settling import settle
from recommenders.distributed import SINGLE_PROCESS
from recommenders.evaluation import evaluate
from recommenders.export.bounds import profile_bounds
from recommenders.export.errors import ExportError
from recommenders.export.trained import Provenance, Trained
from recommenders.metrics import cutoff_of
from recommenders.models.registry import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recommenders.benchmark.experiment import Experiment, ModelEntry
    from recommenders.benchmark.prepared import BenchmarkPaths, Prepared
    from recommenders.distributed import DistributedContext


def train_one(
    experiment: Experiment,
    label: str | None,
    seed: int,
    paths: BenchmarkPaths,
    *,
    progress: Callable[[str], object],
    context: DistributedContext = SINGLE_PROCESS,
) -> Trained | None:
    """Trains a model with each combination of options in the grid, and returns the best.

    Args:
        experiment: The grid.
        label: The model's label, as in the tables; None if the grid has one model.
        seed: Of the parameters and the order of training, and of a split without its own seed.
        paths: The folders of the data; `out` keeps the vectors of texts.
        progress: Called in the main process with a line for each combination of options.
        context: The processes that train the model together.

    Returns:
        The model that is best on validation, evaluated on the test parts of all scenarios; None
        in processes other than the main one.

    Raises:
        ExportError: The grid has no such model, or has several and `label` is None.
        DatasetError, BenchmarkError: The data cannot be prepared.
        ModelError, EvaluationError: Training or evaluation failed.
    """
    entry = chosen(experiment, label)
    prepared = context.main_first(lambda: prepare(experiment, seed, paths))
    part = validation_part(experiment, prepared)
    cutoff = cutoff_of(experiment.metric)
    best: tuple[float, Any, Mapping[str, Any]] | None = None
    with tempfile.TemporaryDirectory(prefix="reclm-train-") as scratch:
        for number, options in enumerate(entry.candidates()):
            run = Run(entry=entry, options=options, seed=seed)
            folder = Path(scratch, str(number))
            folder.mkdir()
            model, _ = fit(run, experiment, prepared, folder, context=context)
            if not context.is_main_process:
                continue
            settle(model, part, experiment.metric)
            value = evaluate(model, part, cutoffs=[cutoff]).means()[experiment.metric]
            progress(f"{entry.shown}: {experiment.metric} {value:.4f} on validation, {options}")
            if best is None or value > best[0]:
                best = value, model, options
    if best is None:
        return None
    return Trained(
        model=best[1],
        provenance=_provenance(
            experiment, entry, options=best[2], prepared=prepared, model=best[1], seed=seed
        ),
        item_ids=prepared.item_ids,
        user_ids=prepared.user_ids,
        train=prepared.split.train,
    )


def chosen(experiment: Experiment, label: str | None) -> ModelEntry:
    """Returns the model of a grid with this label.

    Raises:
        ExportError: There is none, or there are several and the label is None.
    """
    found = [entry for entry in experiment.models if label is None or entry.shown == label]
    if len(found) != 1:
        labels = ", ".join(repr(entry.shown) for entry in experiment.models)
        said = "no model is named" if label is None else f"there is no model {label!r}"
        raise ExportError(f"{said}; the file has {labels or 'none'}")
    return found[0]


def _provenance(
    experiment: Experiment,
    entry: ModelEntry,
    *,
    options: Mapping[str, Any],
    prepared: Prepared,
    model: Any,  # noqa: ANN401 - a recommender that the benchmark has trained
    seed: int,
) -> Provenance:
    config = MODELS[entry.name].config.model_validate(options)
    metrics = {
        f"{name}/test/{metric}": value
        for name, scenario in prepared.split.scenarios.items()
        for metric, value in evaluate(model, scenario.test).means().items()
    }
    info, own = prepared.snapshot, experiment.user_profiles == "own"
    profiled = info is not None and prepared.inputs.user_profiles is not None
    encoder = None
    if info is not None and profiled:
        name, _, digest = info.encoder.rpartition("@")
        encoder = {"name": name, "hash": digest}
    return Provenance(
        model={"name": entry.name, "options": config.model_dump(mode="json")},
        dataset={"name": prepared.dataset, "fingerprint": prepared.dataset_fingerprint},
        split={"name": prepared.split.name, "fingerprint": prepared.split.fingerprint()},
        encoder=encoder,
        profiles=info.version if info is not None and profiled and own else None,
        user_profiles=experiment.user_profiles if profiled else None,
        seed=seed,
        metrics=metrics,
        gate=profile_bounds(
            model,
            prepared.inputs,
            prepared.scenarios,
            of_items=experiment.user_profiles == "items",
        ),
    )
