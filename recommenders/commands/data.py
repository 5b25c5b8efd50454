"""What `reclm-recommend data` does. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.common.home import reclm_home

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from recommenders.data.dataset import Dataset


def get_ml_100k(folder: Path | None, *, force: bool) -> str:
    """Makes the MovieLens-100K folder, unless it is there already; returns what to print.

    Args:
        folder: Where to put it; `data/ml-100k` in RecLM's home by default.
        force: Fetch it anew, in the place of the dataset that is there.
    """
    from recommenders.data.dataset import INFO, Dataset
    from recommenders.data.readers.movielens import fetch_ml_100k

    folder = folder or reclm_home() / "data" / "ml-100k"
    if (folder / INFO).is_file() and not force:
        return describe(Dataset.read(folder), folder) + "\nIt was there already."
    sys.stderr.write("Fetching MovieLens-100K ...\n")
    dataset = fetch_ml_100k()
    dataset.write(folder, replace=force)
    return describe(dataset, folder)


def import_source(name: str, path: Path, folder: Path | None, *, force: bool) -> str:
    """Makes a dataset's folder from files that others published; returns what to print.

    Args:
        name: A name in `SOURCES`.
        path: Where the files are.
        folder: Where to put the dataset; `data/NAME` in RecLM's home by default.
        force: Put it in the place of a dataset that is there already.
    """
    from recommenders.data.sources import SOURCES

    dataset = SOURCES[name].read(path, _note)
    return _written(dataset, folder or reclm_home() / "data" / name, force=force)


def import_generic(args: argparse.Namespace) -> str:
    """Makes a dataset's folder from files whose columns the arguments name, as `cli` has them."""
    from recommenders.data.dataset import DatasetInfo
    from recommenders.data.readers.blocks import InteractionColumns
    from recommenders.data.readers.generic import ItemColumns, read_generic

    dataset = read_generic(
        DatasetInfo(name=args.out.resolve().name, source=str(args.path), licence=args.licence),
        args.path,
        args.items,
        interaction_columns=InteractionColumns(
            user=args.user_column,
            item=args.item_column,
            time=args.time_column,
            time_unit=args.time_unit,
            weight=args.weight_column,
        ),
        item_columns=ItemColumns(
            item=args.id_column,
            title=args.title_column,
            category=args.category_column,
            description=args.description_column,
        ),
    )
    return _written(dataset, args.out, force=args.force)


def import_profiles(name: str, path: Path, file: Path) -> str:
    """Writes profiles that others published as JSON lines; returns what to print.

    Args:
        name: A name in `PROFILES`.
        path: Where they are.
        file: What to write.
    """
    from recommenders.data.profiles import write_profiles
    from recommenders.data.sources import PROFILES

    profiles = PROFILES[name].read(path)
    write_profiles(file, profiles)
    return f"{len(profiles):,} profiles in {file}"


class NotSound(Exception):
    """An audit found that a dataset is not sound; the message is the audit."""


def audit(args: argparse.Namespace) -> str:
    """Audits a dataset's folder; returns what to print.

    Raises:
        NotSound: It is not; the message is what to print.
    """
    from recommenders.data.audit import describe as described
    from recommenders.data.audit import run_audit
    from recommenders.data.splits.text import read_plan

    found = run_audit(
        args.folder,
        split=None if args.split is None else read_plan(args.split),
        profiles=args.profiles,
        item_profiles=args.item_profiles,
    )
    text = found.to_json() if args.json else described(found)
    if found.verdict != "sound":
        raise NotSound(text)
    return text


def keep_core(folder: Path, out: Path, *, users: int, items: int, force: bool) -> str:
    """Writes a dataset's core; returns what to print.

    Args:
        folder: The dataset's.
        out: The core's.
        users: Least interactions of a user.
        items: Least interactions of an item.
        force: Put it in the place of a dataset that is there already.
    """
    from recommenders.data.core import core
    from recommenders.data.dataset import Dataset

    found = core(Dataset.read(folder), users=users, items=items, name=out.resolve().name)
    return _written(found, out, force=force)


def show(folder: Path) -> str:
    """Reads and checks a dataset folder; returns what to print."""
    from recommenders.data.dataset import Dataset

    return describe(Dataset.read(folder), folder)


def describe(dataset: Dataset, folder: Path) -> str:
    """Returns what a dataset is, in a few lines."""
    import pyarrow.compute as pc

    interactions = dataset.interactions
    users = pc.count_distinct(interactions["user_id"]).as_py()
    lines = {
        "Dataset": dataset.info.name,
        "Source": dataset.info.source,
        "Licence": dataset.info.licence,
        "Split": dataset.info.split or "none",
        "Folder": str(folder),
        "Items": f"{dataset.items.num_rows:,}",
        "Users": f"{users:,}",
        "Interactions": f"{interactions.num_rows:,}",
    }
    if interactions.num_rows:
        times, weights = interactions["timestamp"], interactions["weight"]
        lines["Time"] = _span(pc.min(times).as_py(), pc.max(times).as_py())
        if "part" in interactions.column_names:
            parts: Counter[Any] = Counter(interactions["part"].to_pylist())
            lines["Parts"] = ", ".join(f"{name} {parts[name]:,}" for name in sorted(parts))
        lines["Weights"] = f"{pc.min(weights).as_py():g} to {pc.max(weights).as_py():g}"
    return "\n".join(f"{name + ':':<14}{value}" for name, value in lines.items())


def _written(dataset: Dataset, folder: Path, *, force: bool) -> str:
    dataset.write(folder, replace=force)
    return describe(dataset, folder)


def _note(text: str) -> None:
    sys.stderr.write(f"note: {text}\n")


def _span(first: int, last: int) -> str:
    # Sources without a clock have 0, or an interaction's position in its user's sequence.
    if first >= 0 and last < 86_400:
        return f"no clock, timestamps {first} to {last}"
    return f"{_day(first)} to {_day(last)}"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
