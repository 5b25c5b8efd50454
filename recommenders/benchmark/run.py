"""One run: a model with certain options and a seed, trained and judged, its figures on disk."""

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
from recommenders.data.negatives import NegativeSampler
from recommenders.distributed import SINGLE_PROCESS
from recommenders.evaluation import CUTOFFS, evaluate
from recommenders.models.registry import MODELS, build
from recommenders.negative_sampling import among_chosen
from recommenders.trainer import train

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One model, options, seed.

    Attributes:
        entry: The model in the grid.
        options: Of the model: one of the entry's candidates.
        seed: Of split, parameters and order.
    """

    entry: ModelEntry
    options: dict[str, Any]
    seed: int

    @property
    def reads_profiles(self) -> bool:
        """Whether profiles are among what the model learns from."""
        return self.options.get("variant", self.entry.variant) == "augmented"

    def key(self, experiment: Experiment, prepared: Prepared, device: str = "cpu") -> str:
        """Returns 16 hexadecimal digits that stand for all that decides about the figures.

        Other profiles make another run only of a model that reads them, another device only of one
        that is trained there. The program is not among it: another version wants another folder.
        """
        document: dict[str, Any] = {
            "data": prepared.digest if self.reads_profiles else prepared.plain_digest,
            "model": self.entry.name,
            "options": self.options,
            "training": experiment.trainer(self.entry).model_dump(mode="json"),
            "seed": self.seed if MODELS[self.entry.name].chance else None,
            "evaluated": [
                experiment.metric,
                experiment.scenario,
                experiment.validation_users,
                experiment.test_users,
                experiment.protocol,
            ],
        }
        if device != "cpu" and MODELS[self.entry.name].trained:
            document["device"] = device
        text = json.dumps(document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def execute(
    run: Run,
    experiment: Experiment,
    prepared: Prepared,
    folder: Path,
    *,
    context: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Trains and judges a model; `result.json` is there when all of it is.

    A run that was stopped in the middle of training goes on from its last epoch.

    Args:
        run: The model, its options, the seed.
        experiment: How it is trained.
        prepared: What on.
        folder: For what comes of it; is made.
        context: Where a model that is trained by gradient works.

    Raises:
        ModelError: Options do not fit, or training failed.
        EvaluationError: A part cannot be ranked.
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
    rows = []
    for name, scenario in prepared.scenarios.items():
        trained = {}
        if history is not None:
            best = history.bests[experiment.scenario or name]
            best.restore(model)
            trained = {"best_epoch": best.epoch}
        test = evaluate(model, scenario.test, cutoffs=cutoffs)
        scenarios[name] = {
            **trained,
            "validation": evaluate(model, scenario.validation, cutoffs=cutoffs).means(),
            "test": test.means(),
            **_parts(test, scenario.test, popularity),
        }
        rows.append(_user_rows(name, test, prepared))
    write_table(pa.concat_tables(rows), folder / USERS)
    result = {
        "label": run.entry.shown,
        "model": run.entry.name,
        "options": run.options,
        "split": prepared.split.name,
        "split_fingerprint": prepared.split.fingerprint(),
        "profiles": prepared.profiles if run.reads_profiles else None,
        "protocol": experiment.protocol,
        "device": context.device.type,
        "cpu_seconds": round(seconds, 3),
        "epochs": None if history is None else len(history.rows),
        "scenarios": scenarios,
    }
    scratch = folder / f".{RESULT}.new"
    scratch.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    scratch.replace(folder / RESULT)


def validation_part(experiment: Experiment, prepared: Prepared) -> Part:
    """Returns what decides between epochs and options."""
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
    """Builds a model and, where it has to be, trains it.

    Args:
        run: The model, its options, the seed.
        experiment: How it is trained.
        prepared: What on.
        folder: That is there, for the checkpoint and the losses of every epoch.
        context: Where a model that is trained by gradient works, and who trains it with this process.

    Returns:
        The model, with the parameters that are best by `validation_part`, and how training went: the
        best by each scenario; None for one that is not trained by gradient.

    Raises:
        ModelError: Options do not fit, or training failed.
        EvaluationError: The validation part cannot be ranked.
    """
    rng = np.random.default_rng(run.seed)
    model: Any = build(run.entry.name, prepared.inputs, run.options, rng)
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
    """Returns who gains and on what, and how much of the catalogue is shown."""
    items = np.arange(part.known.shape[1]) if part.candidates is None else part.candidates
    # The same lists whatever the metric that decides.
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


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a Parquet file whole, in the place of one that is there."""
    scratch = path.with_name(f".{path.name}.new")
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(path)
