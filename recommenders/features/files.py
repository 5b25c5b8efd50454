"""Makes a snapshot from files: JSON lines of any model, or the output of a backfill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.profiles import read_profiles
from recommenders.features.encoding import encode, encoder_name
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from recommenders.data.dataset import Dataset


def from_jsonl(
    dataset: Dataset,
    *,
    users: Path | None,
    items: Path | None,
    encoder: Path,
    split: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Snapshot:
    """Encodes profiles from JSON lines of `id` and `text`.

    Args:
        dataset: The dataset; profiles of users and items that are not in it are an error.
        users: File with profiles of users.
        items: File with profiles of items.
        encoder: The folder of the sentence encoder.
        split: The fingerprint of the split whose training part the users' histories were taken from,
            if it is known.
        progress: Called with the number of texts encoded so far, for each file.

    Raises:
        DatasetError: A file cannot be read, or has a profile of a user or item not in the dataset.
        EncoderUnavailable: The folder has no encoder.
    """
    known = _ids(dataset)
    tables: dict[str, ProfileTable | None] = {}
    for kind, path in (("users", users), ("items", items)):
        if path is None:
            tables[kind] = None
            continue
        profiles = read_profiles(path)
        if unknown := [id_ for id_ in profiles if id_ not in known[kind]]:
            raise DatasetError(
                f"{path}: {unknown[0]!r} is not among the {kind} of {dataset.info.name} (nor are "
                f"{len(unknown) - 1} more)"
            )
        texts = tuple(profiles.values())
        vectors = encode(texts, encoder, progress=progress)
        tables[kind] = ProfileTable(tuple(profiles), texts, vectors)
    source = " ".join(path.name for path in (users, items) if path is not None)
    if not source:
        raise DatasetError("no profiles are given: give a file of users, of items, or both")
    info = SnapshotInfo(
        dataset=dataset.info.name, split=split, source=source, encoder=encoder_name(encoder)
    )
    return Snapshot(info, tables["users"], tables["items"])


def from_backfill(
    dataset: Dataset,
    *,
    users: Path | None,
    items: Path | None,
    split: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> Snapshot:
    """Makes a snapshot from the output of `reclm-serve backfill`, which includes vectors.

    Args:
        dataset: The dataset; profiles of users and items that are not in it are left out.
        users: The output folder of a backfill of users.
        items: The output folder of a backfill of items.
        split: As in `from_jsonl`.
        progress: Called with a line for each output from which profiles were left out.

    Raises:
        DatasetError: A folder cannot be read, its backfill is not complete, it has no profile of the
            dataset, or users' and items' vectors are of different encoders.
    """
    versions = [_version_of(path) for path in (users, items) if path is not None]
    encoders = {_encoder_of(version) for version in versions}
    if not encoders:
        raise DatasetError("no profiles are given: give an output of users, of items, or both")
    if len(encoders) > 1:
        raise DatasetError(f"users' and items' vectors are by {' and by '.join(sorted(encoders))}")
    (encoder,) = encoders
    known = _ids(dataset)
    tables: list[ProfileTable | None] = []
    for kind, path in (("users", users), ("items", items)):
        if path is None:
            tables.append(None)
            continue
        table = ProfileTable.read(path)
        own = table.among(known[kind])
        if not own.ids:
            raise DatasetError(
                f"{path}: none of its {len(table.ids):,} profiles is of the {kind} of "
                f"{dataset.info.name}; give the output of a backfill of this dataset"
            )
        if progress is not None and len(own.ids) < len(table.ids):
            others = len(table.ids) - len(own.ids)
            progress(
                f"{path}: {others:,} of {len(table.ids):,} profiles are not of the {kind} of "
                f"{dataset.info.name} and are left out"
            )
        tables.append(own)
    source = " ".join(str(path.name) for path in (users, items) if path is not None)
    info = SnapshotInfo(
        dataset=dataset.info.name,
        split=split,
        source=source,
        encoder=encoder,
        version=versions[0] if all(one == versions[0] for one in versions) else None,
    )
    return Snapshot(info, *tables)


def _ids(dataset: Dataset) -> dict[str, set[str]]:
    indexed = Indexed.of(dataset)
    return {"users": {*indexed.user_ids}, "items": {*indexed.item_ids}}


def _encoder_of(version: Mapping[str, Any]) -> str:
    return f"{version['encoder']['name']}@{version['encoder']['hash']}"


def _version_of(folder: Path) -> Mapping[str, Any]:
    """Returns the version of a backfill's profiles from its manifest."""
    path = folder / "manifest.json"
    try:
        document = json.loads(path.read_bytes())
        version, complete = document["version"], document["complete"]
        _encoder_of(version)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not the manifest of a backfill: {error!r}") from error
    if not complete:
        raise DatasetError(
            f"{folder}: the backfill is not complete; run its command again to resume it"
        )
    found: Mapping[str, Any] = version
    return found
