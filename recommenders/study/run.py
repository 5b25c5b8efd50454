"""Trains a study's models and asks each of them about strangers, by number of known clicks."""

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
from recommenders.benchmark.run import Run, fit
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
_FORMAT = 2
"""Of that file."""


def run_study(
    study: Study, paths: BenchmarkPaths, *, progress: Callable[[str], object]
) -> pa.Table:
    """Runs a study; models that were trained and asked before are not again.

    Args:
        study: What is asked.
        paths: Where data is and results go.
        progress: Told what is done, in lines.

    Returns:
        A row for each way, seed, part, number of clicks and user: `way`, `label`, `seed`, `part`,
        `clicks`, `user_id`, `wanted` (how many items are to be found) and the metrics.

    Raises:
        DatasetError, BenchmarkError: The data cannot be prepared.
        ModelError, EvaluationError: A model cannot be trained or asked.
    """
    tables = []
    for seed in study.seeds:
        prepared = prepare(study.experiment, seed, paths)
        halves = functools.cache(lambda: new_users(study, seed, prepared, paths))  # noqa: B023 - used in this turn alone
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
                table = _asked(model, ways, seed, halves(), prepared)
                scratch = folder / f".{_DONE}.new"
                pq.write_table(table, scratch, compression="zstd")
                scratch.replace(folder / _DONE)
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
    """A model that is asked about strangers, of whom it is told what a way reads."""

    def __init__(self, model: ScoresNewUsers, way: Way, here: NewUsers, clicks: int) -> None:
        self._model, self._way, self._here, self._clicks = model, way, here, clicks

    def scores(
        self,
        users: NDArray[np.int64],
        known: sparse.csr_array,  # noqa: ARG002 - all clicks, which are not to be ranked
    ) -> NDArray[np.float32]:
        """Returns scores by the first clicks alone."""
        rows = np.searchsorted(self._here.users, users)
        told = self._here.known[self._clicks][rows]
        if not self._way.reads_clicks:
            told = sparse.csr_array(np.zeros(told.shape, np.float32))
        profiles = self._here.profiles[self._clicks][rows] if self._way.reads_profile else None
        return self._model.new_user_scores(told, profiles)


def _asked(
    model: Any,  # noqa: ANN401 - what a registry's entry builds; all score strangers
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
                columns = {
                    "way": pa.array([way.name] * count).dictionary_encode(),
                    "label": pa.array([way.shown] * count).dictionary_encode(),
                    "seed": pa.array([seed] * count, pa.int32()),
                    "part": pa.array([part] * count).dictionary_encode(),
                    "clicks": pa.array([clicks] * count, pa.int32()),
                    "user_id": ids,
                    "wanted": wanted,
                    **{metric: found.values[metric] for metric in METRICS},
                }
                tables.append(pa.table(columns))
    return pa.concat_tables(tables)
