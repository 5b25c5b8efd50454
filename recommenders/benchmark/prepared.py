"""The data that all models of one seed share: the split, and the vectors that they may read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recommenders.benchmark.controls import READS_PROFILES, controlled
from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.means import mean_vectors
from recommenders.benchmark.newer import newer_than
from recommenders.data.dataset import Dataset
from recommenders.data.indexed import Indexed
from recommenders.features.encoding import encode, encoder_name
from recommenders.features.snapshot import Snapshot
from recommenders.models.base import Inputs
from recommenders.text import TfIdf
from services.common.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.benchmark.controls import Control
    from recommenders.benchmark.experiment import Experiment
    from recommenders.data.split import Scenario, Split
    from recommenders.features.snapshot import SnapshotInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkPaths:
    """The folders of a benchmark.

    Attributes:
        datasets: Folder of datasets.
        snapshots: Folder of snapshots.
        encoder: The sentence encoder's folder.
        out: Folder for results, and for cached vectors of items' texts.
    """

    datasets: Path
    snapshots: Path
    encoder: Path
    out: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The data of one seed.

    Attributes:
        split: The split, with the training part.
        scenarios: The evaluated scenarios: those of the split, possibly with fewer users.
        inputs: The inputs of models.
        user_ids: User row -> id.
        item_ids: Item row -> id.
        dataset: The dataset's name.
        dataset_fingerprint: Hash of its ids and interactions, 16 hexadecimal digits.
        snapshot: Provenance of the profiles; None without profiles.
        profiles: The same in words; None without profiles.
        digest: Hash of all inputs.
        plain_digest: Hash of all inputs but the profiles, for models that read none.
        own: (n_users,), the users whose profile is their own and not that of their items; None if
            nobody's is.
        newer: (n_items,), the items newer than what the writer of the profiles knows; None if that
            is unknown.
    """

    split: Split
    scenarios: Mapping[str, Scenario]
    inputs: Inputs
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    dataset: str
    dataset_fingerprint: str
    snapshot: SnapshotInfo | None
    profiles: str | None
    digest: str
    plain_digest: str
    own: NDArray[np.bool_] | None = None
    newer: NDArray[np.bool_] | None = None

    def inputs_of(self, control: Control | None, seed: int) -> Inputs:
        """Returns the inputs of a control, or the experiment's own for None.

        Raises:
            BenchmarkError, ModelError: The control cannot be made from the inputs.
        """
        if control is None:
            return self.inputs
        readable = self.split.readable()
        return controlled(self.inputs, control, readable=readable, own=self.own, seed=seed)

    def digest_of(self, control: Control | None) -> str:
        """Returns the hash of the inputs of a model that reads profiles, or of a control."""
        if control is None or control in READS_PROFILES:
            return self.digest
        return self.plain_digest


def prepare(
    experiment: Experiment,
    seed: int,
    paths: BenchmarkPaths,
    *,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Divides the dataset and collects the vectors.

    Args:
        experiment: The experiment.
        seed: One of its seeds.
        paths: Folders of data and results.
        progress: Called with the number of texts encoded so far.

    Raises:
        DatasetError: The dataset or a snapshot cannot be read, or the dataset cannot be divided.
        BenchmarkError: The split has no scenario of that name; or the snapshot belongs to another
            dataset, split or encoder.
    """
    dataset = Dataset.read(paths.datasets / experiment.dataset)
    indexed = Indexed.of(dataset)
    split = experiment.plan(seed).divide(dataset)
    if experiment.scenario is not None and experiment.scenario not in split.scenarios:
        known = ", ".join(split.scenarios)
        raise BenchmarkError(f"the split has no scenario {experiment.scenario!r}; it has {known}")
    snapshot = _snapshot(experiment, seed, paths, dataset, split)
    items = users = own = None
    if snapshot is not None:
        items = None if snapshot.items is None else snapshot.items.aligned(indexed.item_ids)
        own = _own(experiment, snapshot, indexed.user_ids)
        users = _of_users(experiment, split, own, items)
    columns = (dataset.items[name].to_pylist() for name in experiment.text)
    texts = [". ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]
    warm = np.unique(split.train.indices).astype(np.int64)
    profiles = None
    if snapshot is not None and snapshot.items is not None:
        profiles = _words(snapshot.items.texts_of(indexed.item_ids), warm)
    inputs = Inputs(
        train=split.train,
        text=_text_vectors(texts, paths, progress),
        item_profiles=items,
        user_profiles=users,
        text_words=_words(texts, warm),
        profile_words=profiles,
    )
    return Prepared(
        split=split,
        scenarios={
            name: scenario.for_few(
                validation=experiment.validation_users, test=experiment.test_users
            )
            for name, scenario in split.scenarios.items()
        },
        inputs=inputs,
        user_ids=indexed.user_ids,
        item_ids=indexed.item_ids,
        dataset=dataset.info.name,
        dataset_fingerprint=indexed.fingerprint(),
        snapshot=None if snapshot is None else snapshot.info,
        profiles=None if snapshot is None else _provenance(snapshot, experiment, indexed),
        digest=_digest(split, inputs),
        plain_digest=_digest(split, inputs.without_profiles()),
        own=None if own is None else np.asarray(own.any(axis=1)),
        newer=newer_than(dataset.items, _cutoff(experiment, snapshot)),
    )


def _cutoff(experiment: Experiment, snapshot: Snapshot | None) -> str | None:
    if experiment.knowledge_cutoff is not None or snapshot is None:
        return experiment.knowledge_cutoff
    return snapshot.info.knowledge_cutoff


def _snapshot(
    experiment: Experiment, seed: int, paths: BenchmarkPaths, dataset: Dataset, split: Split
) -> Snapshot | None:
    if experiment.profiles is None:
        return None
    folder = paths.snapshots / experiment.profiles.replace("{seed}", str(seed))
    snapshot = Snapshot.read(folder)
    info = snapshot.info
    if info.dataset != dataset.info.name:
        raise BenchmarkError(f"{folder} has profiles of {info.dataset}, not {dataset.info.name}")
    if info.encoder != (ours := encoder_name(paths.encoder)):
        raise BenchmarkError(f"{folder}: vectors are by {info.encoder}, those of texts by {ours}")
    if info.split is not None and info.split != split.fingerprint():
        raise BenchmarkError(
            f"{folder} has profiles that were made for another split ({info.split}, not "
            f"{split.fingerprint()}): they may have read relevant items of this one"
        )
    if info.split is None and snapshot.users is not None and experiment.user_profiles != "items":
        raise BenchmarkError(
            f"{folder} has users' profiles of unknown histories; set "
            "`user_profiles: items`, or make them for this split with `reclm-recommend features`"
        )
    return snapshot


def _provenance(snapshot: Snapshot, experiment: Experiment, indexed: Indexed) -> str:
    mean = "the mean of the profiles of their known items"
    count = 0 if snapshot.users is None else len(snapshot.users.among({*indexed.user_ids}).ids)
    own = f"{count:,} of their own"
    of_users = {"own": own, "items": mean, "both": f"{own}, the others {mean}"}[
        experiment.user_profiles
    ]
    count = 0 if snapshot.items is None else len(snapshot.items.among({*indexed.item_ids}).ids)
    return (
        f"{snapshot.info.source} (snapshot {snapshot.fingerprint()}): {count:,} items; users have "
        f"{of_users}"
    )


def _own(
    experiment: Experiment, snapshot: Snapshot, user_ids: Sequence[str]
) -> NDArray[np.float32] | None:
    """Returns the vectors of users' own profiles, zeros for those without; None if none are read."""
    if experiment.user_profiles == "items" or snapshot.users is None:
        return None
    return snapshot.users.aligned(user_ids)


def _of_users(
    experiment: Experiment,
    split: Split,
    own: NDArray[np.float32] | None,
    items: NDArray[np.float32] | None,
) -> NDArray[np.float32] | None:
    if experiment.user_profiles == "own" or items is None:
        return own
    means = mean_vectors(split.readable(), items)
    return means if own is None else np.where(own.any(axis=1, keepdims=True), own, means)


def _words(texts: Sequence[str], warm: NDArray[np.int64]) -> sparse.csr_array:
    """Returns TF-IDF vectors of texts; document frequencies are those of items in training."""
    return TfIdf.of(texts[row] for row in warm.tolist()).vectors(texts)


def _text_vectors(
    texts: Sequence[str], paths: BenchmarkPaths, progress: Callable[[int], None] | None
) -> NDArray[np.float32]:
    """Returns vectors of the items' texts, cached on disk, since they take minutes to compute."""
    key = hashlib.sha256(repr((encoder_name(paths.encoder), texts)).encode()).hexdigest()[:16]
    path = paths.out / "texts" / f"{key}.npy"
    if path.is_file():
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return kept
    vectors = encode(texts, paths.encoder, threads=2, progress=progress)
    with atomic_file(path) as file:
        np.save(file, vectors, allow_pickle=False)
    return vectors


def _digest(split: Split, inputs: Inputs) -> str:
    digest = hashlib.sha256(split.fingerprint().encode())
    for name in ("text", "item_profiles", "user_profiles"):
        values = getattr(inputs, name)
        digest.update(name.encode())
        if values is not None:
            digest.update(np.ascontiguousarray(values).tobytes())
    for words in (inputs.text_words, inputs.profile_words):
        if words is not None:
            digest.update(words.indices.tobytes() + words.data.tobytes())
    return digest.hexdigest()[:16]
