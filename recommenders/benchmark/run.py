"""One run: trains and evaluates a model with given options and seed, and writes the results."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recommenders import breakdown, metrics
from recommenders.benchmark import convergence
from recommenders.benchmark.controls import READS_PROFILES
from recommenders.benchmark.ranks import RANKS, table_of
from recommenders.benchmark.settling import settle
from recommenders.data.negatives import NegativeSampler
from recommenders.distributed import SINGLE_PROCESS
from recommenders.evaluation import CUTOFFS, evaluate
from recommenders.models.registry import MODELS, build
from recommenders.negative_sampling import among_chosen
from recommenders.trainer import train
from services.common.files import atomic_path, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recommenders.benchmark.experiment import Experiment, ModelEntry
    from recommenders.benchmark.prepared import Prepared
    from recommenders.data.split import Part
    from recommenders.distributed import DistributedContext
    from recommenders.evaluation import Evaluation, Scorer
    from recommenders.training_log import History

RESULT, USERS, LOSSES = "result.json", "users.parquet", "losses.csv"
_FORMAT = 2
"""Of a run's files; another one makes another run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A model with its options and seed.

    Attributes:
        entry: The model in the grid.
        options: The model's options, one of the entry's candidates.
        seed: Seed of the split, the parameters and the order of training.
    """

    entry: ModelEntry
    options: dict[str, Any]
    seed: int

    @property
    def reads_profiles(self) -> bool:
        """Whether the model reads profiles, or what a control has in their place."""
        return self.options.get("variant", self.entry.variant) == "augmented"

    @property
    def profiled(self) -> bool:
        """Whether the model reads the profiles themselves, in whatever order."""
        control = self.entry.control
        return self.reads_profiles and (control is None or control in READS_PROFILES)

    def key(self, experiment: Experiment, prepared: Prepared, device: str = "cpu") -> str:
        """Returns a hash of everything that determines the results, 16 hexadecimal digits.

        The profiles count only for a model that reads them, the device only for one that is trained.
        The version of the program does not count: use another results folder for another version.
        """
        control = self.entry.control
        document: dict[str, Any] = {
            "format": _FORMAT,
            "data": prepared.digest_of(control) if self.reads_profiles else prepared.plain_digest,
            "model": self.entry.name,
            "options": self.options,
            "training": experiment.trainer(self.entry).model_dump(mode="json"),
            "seed": self.seed if self._by_chance else None,
            "evaluated": [
                experiment.metric,
                experiment.scenario,
                experiment.validation_users,
                experiment.test_users,
                experiment.protocol,
            ],
        }
        if control is not None:
            document["control"] = control
        if prepared.newer is not None:
            document["newer"] = hashlib.sha256(prepared.newer.tobytes()).hexdigest()
        if device != "cpu" and MODELS[self.entry.name].trained:
            document["device"] = device
        text = json.dumps(document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _by_chance(self) -> bool:
        return MODELS[self.entry.name].chance or self.entry.control in READS_PROFILES


def execute(
    run: Run,
    experiment: Experiment,
    prepared: Prepared,
    folder: Path,
    *,
    context: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Trains and evaluates a model. `result.json` is written last and marks the run as finished.

    An interrupted run resumes from its last epoch.

    Args:
        run: The model, its options and the seed.
        experiment: The experiment.
        prepared: The data.
        folder: Folder for the results; it is made.
        context: The processes and the device of the training.

    Raises:
        ModelError: An option is invalid for this data, or training failed.
        EvaluationError: A part cannot be evaluated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    model, history = fit(run, experiment, prepared, folder, context=context)
    seconds = time.process_time() - started
    if history is not None:
        seconds += history.earlier_seconds
    cutoffs = sorted({*CUTOFFS, metrics.cutoff_of(experiment.metric)})
    popularity = np.bincount(prepared.split.train.indices, minlength=prepared.inputs.n_items)
    scenarios: dict[str, Any] = {}
    rows: list[pa.Table] = []
    ranks: list[pa.Table] = []
    for name, scenario in prepared.scenarios.items():
        aim = experiment.scenario or name
        trained: dict[str, Any] = convergence.facts(history, aim)
        if history is not None:
            history.bests[aim].restore(model)
            decides = prepared.scenarios[aim]
            part = decides.test if experiment.protocol == "paper" else decides.validation
            if (scale := settle(model, part, experiment.metric)) is not None:
                trained["profile_scale"] = scale
        validation = evaluate(model, scenario.validation, cutoffs=cutoffs)
        test = evaluate(model, scenario.test, cutoffs=cutoffs)
        scenarios[name] = {
            **trained,
            "validation": validation.means(),
            "test": test.means(),
            **_parts(test, scenario.test, popularity),
        }
        rows.append(_user_rows(name, test, prepared))
        ranks.append(_rank_rows(name, "validation", validation, scenario.validation, prepared))
        ranks.append(_rank_rows(name, "test", test, scenario.test, prepared))
    write_table(pa.concat_tables(rows), folder / USERS)
    write_table(pa.concat_tables(ranks), folder / RANKS)
    result = {
        "label": run.entry.shown,
        "model": run.entry.name,
        "options": run.options,
        "split": prepared.split.name,
        "split_fingerprint": prepared.split.fingerprint(),
        "profiles": prepared.profiles if run.profiled else None,
        "control": run.entry.control,
        "protocol": experiment.protocol,
        "device": context.device.type,
        "cpu_seconds": round(seconds, 3),
        "steps": None if history is None else history.steps,
        "batch_size": None if history is None else history.batch_size,
        "scenarios": scenarios,
    }
    write_text(folder / RESULT, json.dumps(result, indent=1) + "\n")


def validation_part(experiment: Experiment, prepared: Prepared) -> Part:
    """Returns the part that selects the step and the options."""
    name = experiment.scenario or next(iter(prepared.scenarios))
    scenario = prepared.scenarios[name]
    return scenario.test if experiment.protocol == "paper" else scenario.validation


def fit(
    run: Run,
    experiment: Experiment,
    prepared: Prepared,
    folder: Path,
    *,
    context: DistributedContext = SINGLE_PROCESS,
) -> tuple[Any, History | None]:
    """Builds a model, and trains it if it is trained by gradient.

    Args:
        run: The model, its options and the seed.
        experiment: The experiment.
        prepared: The data.
        folder: An existing folder for the checkpoint and the losses of the training.
        context: The processes and the device of the training.

    Returns:
        The model with the parameters that are best on `validation_part`, and the training log with
        the best step of each scenario; None for a model that is not trained by gradient.

    Raises:
        ModelError: An option is invalid for this data, or training failed.
        EvaluationError: The validation part cannot be evaluated.
    """
    rng = np.random.default_rng(run.seed)
    inputs = prepared.inputs_of(run.entry.control, run.seed)
    model: Any = build(run.entry.name, inputs, run.options, rng)
    if not MODELS[run.entry.name].trained:
        return model, None
    aims = prepared.scenarios if experiment.scenario is None else [experiment.scenario]
    parts = {
        name: prepared.scenarios[name].test.for_few(experiment.validation_users)
        if experiment.protocol == "paper"
        else prepared.scenarios[name].validation
        for name in aims
    }
    cutoff = metrics.cutoff_of(experiment.metric)

    def validate(model: Scorer) -> dict[str, float]:
        return {
            name: evaluate(model, part, cutoffs=[cutoff]).means()[experiment.metric]
            for name, part in parts.items()
        }

    checkpoint = folder / "checkpoint.safetensors"
    history = train(
        model,
        experiment.trainer(run.entry),
        draw=among_chosen(prepared.split.train, lambda matrix: NegativeSampler(matrix).draw),
        rng=rng,
        validate=validate,
        checkpoint=checkpoint,
        context=context,
    )
    history.write_csv(folder / LOSSES)
    checkpoint.unlink(missing_ok=True)
    return model, history


def _parts(test: Evaluation, part: Part, popularity: NDArray[np.int64]) -> dict[str, Any]:
    """Returns the results by length of history and by popularity, and the coverage of the catalogue."""
    items = np.arange(part.known.shape[1]) if part.candidates is None else part.candidates
    # The same length for every selecting metric.
    exposures = metrics.exposure(test.ranked[:, : max(CUTOFFS)], items)
    return {
        "users": len(test.users),
        "by_history": _summed(breakdown.by_history(test, part)),
        "by_popularity": _summed(breakdown.by_popularity(test, part, popularity)),
        "coverage": metrics.coverage(exposures),
        "gini": metrics.gini(exposures),
    }


def _summed(bins: dict[str, Evaluation]) -> dict[str, dict[str, float]]:
    return {label: {"users": len(one.users), **one.means()} for label, one in bins.items()}


def _user_rows(scenario: str, test: Evaluation, prepared: Prepared) -> pa.Table:
    ids = [prepared.user_ids[row] for row in test.users.tolist()]
    return pa.table(
        {
            "scenario": pa.array([scenario] * len(ids)).dictionary_encode(),
            "user_id": ids,
            **test.values,
        }
    )


def _rank_rows(
    scenario: str, name: str, found: Evaluation, part: Part, prepared: Prepared
) -> pa.Table:
    return table_of(
        found,
        part,
        scenario=scenario,
        name=name,
        user_ids=prepared.user_ids,
        item_ids=prepared.item_ids,
        newer=prepared.newer,
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a Parquet file atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
