"""Runs an audit of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.data.audit.alignment import Sampling, category_alignment, text_alignment
from recommenders.data.audit.counts import count, read_texts, text_groups
from recommenders.data.audit.leakage import find_leaks
from recommenders.data.audit.profiles import find_profile_leaks
from recommenders.data.audit.report import Audit
from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.splits import Plan, PublishedSplit
from recommenders.data.splits.published import PART

if TYPE_CHECKING:
    from recommenders.data.split import Split


def run_audit(
    source: Dataset | Path,
    *,
    split: Plan | Split | None = None,
    profiles: Path | None = None,
    sampling: Sampling | None = None,
) -> Audit:
    """Audits a dataset, and optionally a split and profiles.

    Args:
        source: A dataset, or its folder.
        split: A split of this dataset, or a plan, to be checked for leaks. By default the published
            split, if there is one.
        profiles: JSON lines with profiles of users, to be checked for relevant items of the split.
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
    if profiles is not None and split is None:
        raise DatasetError("profiles are checked against a split, and none is given or published")
    sampling = sampling or Sampling()
    leaks = find_leaks(split, indexed, text_groups(dataset)) if split else ()
    return Audit(
        dataset=dataset.info.name,
        counts=count(indexed),
        texts=read_texts(dataset),
        alignment=(
            text_alignment(dataset, indexed, sampling),
            category_alignment(dataset, indexed, sampling),
        ),
        split=split.name if split else None,
        split_fingerprint=split.fingerprint() if split else None,
        leaks=leaks,
        profiles=(
            find_profile_leaks(profiles, split, dataset, indexed, seed=sampling.seed)
            if profiles is not None and split is not None
            else None
        ),
    )
