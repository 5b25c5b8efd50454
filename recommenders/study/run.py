"""Trains a study's models and evaluates them on new users by the number of known clicks."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from recommenders.benchmark.prepared import prepare
from recommenders.benchmark.ranks import ranks_of
from recommenders.benchmark.run import Run, fit, write_table
from recommenders.evaluation import evaluate
from recommenders.study.new_users import new_users, written_profiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recommenders.benchmark.prepared import BenchmarkPaths, Prepared
    from recommenders.models.base import ScoresNewUsers
    from recommenders.study.new_users import NewUsers
    from recommenders.study.plan import Study, Way

METRICS = ("recall@20", "ndcg@20")
_DONE = "new-users.parquet"
_FORMAT = 3
"""The version of that file's format."""


def run_study(
    study: Study, paths: BenchmarkPaths, *, progress: Callable[[str], object]
) -> pa.Table:
    """Runs a study; finished models are skipped.

    Args:
        study: The study.
        paths: Folders of data and results.
        progress: Called with a line after each model.

    Returns:
        A row for each way, seed, part, number of clicks and user: `way`, `label`, `seed`, `part`,
        `clicks`, `user_id`, `wanted` (number of relevant items), `items` and `ranks` (of each relevant
        item, ascending by row; 0 where it is not in the list) and the metrics.

    Raises:
        DatasetError, BenchmarkError: The data cannot be prepared.
        ModelError, EvaluationError: A model cannot be trained or evaluated.
    """
    tables = []
    for seed in study.seeds:
        prepared = prepare(study.experiment, seed, paths)
        halves = functools.cache(lambda: new_users(study, seed, prepared, paths))  # noqa: B023 - used in this iteration only
        for entry in study.experiment.models:
            run = Run(entry=entry, options=entry.options, seed=seed)
            ways = [way for way in study.ways if _same(way, run)]
            read = (
                written_profiles(study, seed, paths) if any(w.reads_profile for w in ways) else []
            )
            folder = paths.out / "runs" / _key(study, run, prepared, ways, read)
            if not (folder / _DONE).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                model, _ = fit(run, study.experiment, prepared, folder)
                table = _evaluated(model, ways, seed, halves(), prepared)
                write_table(table, folder / _DONE)
                progress(f"seed {seed}: {', '.join(way.shown for way in ways)} done")
            tables.append(pq.read_table(folder / _DONE, partitioning=None))
    return pa.concat_tables(tables)


def _same(way: Way, run: Run) -> bool:
    return way.entry == run.entry.model_copy(update={"label": ""})


def _key(study: Study, run: Run, prepared: Prepared, ways: list[Way], read: list[str]) -> str:
    document = {
        "run": run.key(study.experiment, prepared),
        "ways": [[way.name, way.shown] for way in ways],
        "clicks": study.clicks,
        "profiles": [study.user_profiles, study.new_user_profiles, *read],
        "format": _FORMAT,
    }
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


class _Knowing:
    """A scorer of new users that passes to the model only what a way reads."""

    def __init__(self, model: ScoresNewUsers, way: Way, here: NewUsers, clicks: int) -> None:
        self._model, self._way, self._here, self._clicks = model, way, here, clicks

    def scores(
        self,
        users: NDArray[np.int64],
        known: sparse.csr_array,  # noqa: ARG002 - all clicks, which are only excluded from the ranking
    ) -> NDArray[np.float32]:
        """Returns scores by the first clicks only."""
        rows = np.searchsorted(self._here.users, users)
        clicks = self._here.known[self._clicks][rows]
        if not self._way.reads_clicks:
            clicks = sparse.csr_array(np.zeros(clicks.shape, np.float32))
        profiles = self._here.profiles[self._clicks][rows] if self._way.reads_profile else None
        return self._model.new_user_scores(clicks, profiles)


def _evaluated(
    model: Any,  # noqa: ANN401 - any model of the registry that scores new users
    ways: list[Way],
    seed: int,
    halves: tuple[NewUsers, NewUsers],
    prepared: Prepared,
) -> pa.Table:
    tables = []
    for way in ways:
        for part, here in zip(("validation", "test"), halves, strict=True):
            ids = [prepared.user_ids[row] for row in here.users.tolist()]
            wanted = np.diff(here.part.relevant.indptr)[here.users].astype(np.int32)
            for clicks in here.known:
                found = evaluate(_Knowing(model, way, here, clicks), here.part, cutoffs=[20])
                count = len(ids)
                _, items, ranks = ranks_of(found, here.part)
                names = pa.array([prepared.item_ids[row] for row in items.tolist()])
                ends = pa.array(np.concatenate([[0], np.cumsum(wanted)]), pa.int32())
                columns = {
                    "way": pa.array([way.name] * count).dictionary_encode(),
                    "label": pa.array([way.shown] * count).dictionary_encode(),
                    "seed": pa.array([seed] * count, pa.int32()),
                    "part": pa.array([part] * count).dictionary_encode(),
                    "clicks": pa.array([clicks] * count, pa.int32()),
                    "user_id": ids,
                    "wanted": wanted,
                    "items": pa.ListArray.from_arrays(ends, names),
                    "ranks": pa.ListArray.from_arrays(ends, pa.array(ranks, pa.int16())),
                    **{metric: found.values[metric] for metric in METRICS},
                }
                tables.append(pa.table(columns))
    return pa.concat_tables(tables)
