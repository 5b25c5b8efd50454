"""Runs an audit of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.data.audit.alignment import (
    Sampling,
    category_alignment,
    text_alignment,
    texts_of,
)
from recommenders.data.audit.counts import count, read_texts, text_groups
from recommenders.data.audit.later import find_later
from recommenders.data.audit.leakage import find_leaks
from recommenders.data.audit.power import find_power
from recommenders.data.audit.profiles import find_profile_leaks, read_users
from recommenders.data.audit.report import Audit
from recommenders.data.audit.text_leaks import find_text_leaks
from recommenders.data.audit.times import read_times
from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.profiles import read_profiles
from recommenders.data.splits import Plan, PublishedSplit
from recommenders.data.splits.published import PART

if TYPE_CHECKING:
    from recommenders.data.split import Split


def run_audit(
    source: Dataset | Path,
    *,
    split: Plan | Split | None = None,
    profiles: Path | None = None,
    item_profiles: Path | None = None,
    sampling: Sampling | None = None,
) -> Audit:
    """Audits a dataset, and optionally a split and profiles.

    Args:
        source: A dataset, or its folder.
        split: A split of this dataset, or a plan, to be checked for leaks. By default the published
            split, if there is one.
        profiles: JSON lines with profiles of users, to be checked for relevant items of the split.
        item_profiles: JSON lines with profiles of items, to be checked for what came after training.
        sampling: Sample sizes of the alignment test.

    Raises:
        DatasetError: The dataset, the split or the profiles cannot be read, or profiles were given
            without a split to check them against.
    """
    dataset = Dataset.read(source) if isinstance(source, Path) else source
    indexed = Indexed.of(dataset)
    if split is None and PART in dataset.interactions.column_names:
        split = PublishedSplit()
    if isinstance(split, Plan):
        split = split.divide(dataset)
    if split is None and (profiles is not None or item_profiles is not None):
        raise DatasetError("profiles are checked against a split, and none is given or published")
    sampling = sampling or Sampling()
    audit = Audit(
        dataset=dataset.info.name,
        counts=count(indexed),
        texts=read_texts(dataset),
        times=read_times(indexed, seed=sampling.seed),
        alignment=(
            text_alignment(dataset, indexed, sampling),
            category_alignment(dataset, indexed, sampling),
        ),
    )
    if split is None:
        return audit
    audited = _with_split(audit, split, dataset, indexed, seed=sampling.seed)
    if profiles is not None:
        users = {name: text for name, text, _ in read_users(profiles)}
        audited = replace(
            audited,
            profiles=find_profile_leaks(profiles, split, dataset, indexed, seed=sampling.seed),
            later=(find_later(users, "users", split, dataset, indexed),),
        )
    if item_profiles is None:
        return audited
    items = read_profiles(item_profiles)
    told = [items.get(name, "") for name in indexed.item_ids]
    categories: list[Any] = dataset.items["category"].to_pylist()
    known = find_text_leaks(split, told, categories, of="item profiles", seed=sampling.seed)
    return replace(
        audited,
        text_leaks=(*audited.text_leaks, *known),
        later=(*audited.later, find_later(items, "items", split, dataset, indexed)),
    )


def _with_split(
    audit: Audit, split: Split, dataset: Dataset, indexed: Indexed, *, seed: int
) -> Audit:
    """Returns the audit with what was found of a split."""
    texts = texts_of(dataset)
    categories: list[Any] = dataset.items["category"].to_pylist()
    return replace(
        audit,
        split=split.name,
        split_fingerprint=split.fingerprint(),
        leaks=find_leaks(split, indexed, text_groups(dataset)),
        power=find_power(split, texts, seed=seed),
        text_leaks=find_text_leaks(split, texts, categories, seed=seed),
    )
