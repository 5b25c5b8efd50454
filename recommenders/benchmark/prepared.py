"""What all models of one seed share: the split, and the vectors that they may read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recommenders.benchmark.errors import BenchmarkError
from recommenders.data.dataset import Dataset
from recommenders.data.indexed import Indexed
from recommenders.features.encoding import encode, encoder_name
from recommenders.features.snapshot import Snapshot
from recommenders.models.base import Inputs
from recommenders.text import TfIdf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.benchmark.experiment import Experiment
    from recommenders.data.split import Scenario, Split
    from recommenders.features.snapshot import SnapshotInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkPaths:
    """Where things are.

    Attributes:
        datasets: Folder of datasets.
        snapshots: Folder of snapshots.
        encoder: The sentence encoder's folder.
        out: Where results go; vectors of items' own texts are kept there too.
    """

    datasets: Path
    snapshots: Path
    encoder: Path
    out: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The data of one seed.

    Attributes:
        split: Decides what is trained on.
        scenarios: What is judged by: those of the split, or fewer users of them.
        inputs: What models may learn from.
        user_ids: User row -> id.
        item_ids: Item row -> id.
        dataset: The dataset's name.
        dataset_fingerprint: 16 hexadecimal digits that stand for its ids and interactions.
        snapshot: Where profiles are from, as the snapshot says; None without any.
        profiles: Where profiles are from, in words; None without any.
        digest: Stands for everything in it.
        plain_digest: Stands for everything but profiles: for all that models without them read.
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


def prepare(
    experiment: Experiment,
    seed: int,
    paths: BenchmarkPaths,
    *,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Divides the dataset and gathers vectors.

    Args:
        experiment: What to prepare for.
        seed: One of its seeds.
        paths: Where to find and keep things.
        progress: Told how many texts are encoded.

    Raises:
        DatasetError: The dataset or a snapshot cannot be read, or cannot be divided so.
        BenchmarkError: The split has no scenario of that name; or a snapshot belongs to another
            dataset, split or encoder.
    """
    dataset = Dataset.read(paths.datasets / experiment.dataset)
    indexed = Indexed.of(dataset)
    split = experiment.plan(seed).divide(dataset)
    if experiment.scenario is not None and experiment.scenario not in split.scenarios:
        known = ", ".join(split.scenarios)
        raise BenchmarkError(f"the split has no scenario {experiment.scenario!r}; it has {known}")
    snapshot = _snapshot(experiment, seed, paths, dataset, split)
    items = users = None
    if snapshot is not None:
        items = None if snapshot.items is None else snapshot.items.aligned(indexed.item_ids)
        users = _of_users(experiment, split, snapshot, indexed.user_ids, items)
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
        profiles=None if snapshot is None else _told(snapshot, experiment, indexed),
        digest=_digest(split, inputs),
        plain_digest=_digest(split, inputs.without_profiles()),
    )


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
            f"{folder} has profiles that were made from another split ({info.split}, not "
            f"{split.fingerprint()}): they may have read what this one asks for"
        )
    if info.split is None and snapshot.users is not None and experiment.user_profiles != "items":
        raise BenchmarkError(
            f"{folder} has users' profiles of which nobody can say what they read; set "
            "`user_profiles: items`, or make them for this split with `reclm-recommend features`"
        )
    return snapshot


def _told(snapshot: Snapshot, experiment: Experiment, indexed: Indexed) -> str:
    mean = "the mean of the profiles of the items that are known of them"
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


def _of_users(
    experiment: Experiment,
    split: Split,
    snapshot: Snapshot,
    user_ids: Sequence[str],
    items: NDArray[np.float32] | None,
) -> NDArray[np.float32] | None:
    own = None
    if experiment.user_profiles != "items" and snapshot.users is not None:
        own = snapshot.users.aligned(user_ids)
    if experiment.user_profiles == "own" or items is None:
        return own
    means = _means(split, items)
    return means if own is None else np.where(own.any(axis=1, keepdims=True), own, means)


def _means(split: Split, items: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns for each user the mean vector of the items that are known, of unit length.

    These are the training items; for users without any, what the split says is known of them when
    a ranking is made, less what it asks for. Where nothing is, zeros.
    """
    sums = np.asarray(split.readable() @ items, np.float32)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: NDArray[np.float32] = sums / np.maximum(lengths, np.finfo(np.float32).tiny)
    return means


def _words(texts: Sequence[str], warm: NDArray[np.int64]) -> sparse.csr_array:
    """Returns the words of texts; how rare a word is, only items in training say."""
    return TfIdf.of(texts[row] for row in warm.tolist()).vectors(texts)


def _text_vectors(
    texts: Sequence[str], paths: BenchmarkPaths, progress: Callable[[int], None] | None
) -> NDArray[np.float32]:
    """Returns vectors of the items' own texts; kept on disk, since they take minutes."""
    key = hashlib.sha256(repr((encoder_name(paths.encoder), texts)).encode()).hexdigest()[:16]
    path = paths.out / "texts" / f"{key}.npy"
    if path.is_file():
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return kept
    vectors = encode(texts, paths.encoder, threads=2, progress=progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{key}.new.npy")
    np.save(scratch, vectors, allow_pickle=False)
    scratch.replace(path)
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
