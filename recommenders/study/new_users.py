"""New users, who are not in training, with an increasing number of known first clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.means import mean_vectors
from recommenders.data.dataset import Dataset
from recommenders.data.indexed import Indexed
from recommenders.data.split import COLD_USERS
from recommenders.data.splits.pairs import Pairs
from recommenders.features.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.benchmark.prepared import BenchmarkPaths, Prepared
    from recommenders.data.split import Part
    from recommenders.study.plan import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class NewUsers:
    """The new users of one part, with the same relevant items at each number of clicks.

    Attributes:
        users: Their rows, ascending.
        part: The part with all clicks known; none of these items is ranked at any number of clicks.
        known: Number of clicks -> the known clicks, CSR, (len(users), n_items).
        profiles: Number of clicks -> vectors, float32, (len(users), p).
    """

    users: NDArray[np.int64]
    part: Part
    known: Mapping[int, sparse.csr_array]
    profiles: Mapping[int, NDArray[np.float32]]


def new_users(
    study: Study, seed: int, prepared: Prepared, paths: BenchmarkPaths
) -> tuple[NewUsers, NewUsers]:
    """Returns the new users of the validation and of the test part.

    Raises:
        DatasetError: The dataset or a snapshot cannot be read.
        BenchmarkError: Items have no profiles, or new users' profiles are of another split.
    """
    pairs = Pairs.of(Indexed.of(Dataset.read(paths.datasets / study.dataset)))
    scenario = prepared.split.scenarios[COLD_USERS]
    first, second = (
        _of(study, seed, part, pairs=pairs, prepared=prepared, paths=paths)
        for part in (scenario.validation, scenario.test)
    )
    return first, second


def written_profiles(study: Study, seed: int, paths: BenchmarkPaths) -> list[str]:
    """Returns the fingerprints of the snapshots of new users' profiles, by clicks, if any.

    Raises:
        DatasetError: A snapshot cannot be read.
    """
    if study.user_profiles == "items":
        return []
    folders = [_folder(study, seed, count, paths) for count in study.clicks]
    return [Snapshot.read(folder).fingerprint() for folder in folders]


def _of(
    study: Study, seed: int, part: Part, *, pairs: Pairs, prepared: Prepared, paths: BenchmarkPaths
) -> NewUsers:
    users = part.users
    keys = pairs.users.astype(np.int64) * pairs.shape[1] + pairs.items
    clicks = part.known[users].tocoo()
    wanted = users[clicks.coords[0]] * pairs.shape[1] + clicks.coords[1]
    theirs = np.isin(keys, wanted)
    known = {count: pairs.matrix(pairs.first(count, theirs))[users] for count in study.clicks}
    if study.user_profiles == "items":
        items = prepared.inputs.item_profiles
        if items is None:
            raise BenchmarkError(f"{study.profiles} has no profiles of items to take the mean of")
        profiles = {count: mean_vectors(clicked, items) for count, clicked in known.items()}
    else:
        profiles = {
            count: _written(study, seed, count, users, prepared=prepared, paths=paths)
            for count in study.clicks
        }
    return NewUsers(users=users, part=part, known=known, profiles=profiles)


def _written(
    study: Study,
    seed: int,
    count: int,
    users: NDArray[np.int64],
    *,
    prepared: Prepared,
    paths: BenchmarkPaths,
) -> NDArray[np.float32]:
    """Returns new users' profiles of the snapshot for this number of known clicks."""
    folder = _folder(study, seed, count, paths)
    snapshot = Snapshot.read(folder)
    ours = prepared.split.fingerprint()
    if snapshot.info.split != ours:
        raise BenchmarkError(
            f"{folder} has profiles that were made for another split ({snapshot.info.split}, not "
            f"{ours})"
        )
    if prepared.snapshot is not None and snapshot.info.encoder != prepared.snapshot.encoder:
        raise BenchmarkError(
            f"{folder}: vectors are by {snapshot.info.encoder}, those in training by "
            f"{prepared.snapshot.encoder}"
        )
    if snapshot.users is None:
        raise BenchmarkError(f"{folder} has no profiles of users")
    return snapshot.users.aligned([prepared.user_ids[row] for row in users.tolist()])


def _folder(study: Study, seed: int, count: int, paths: BenchmarkPaths) -> Path:
    name = (study.new_user_profiles or "").replace("{seed}", str(seed))
    return paths.snapshots / name.replace("{known}", str(count))
