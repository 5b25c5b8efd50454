"""What `reclm-recommend data` does. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.assets.home import reclm_home

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.data.dataset import Dataset


def get_ml_100k(folder: Path | None, *, force: bool) -> str:
    """Makes the MovieLens-100K folder, unless it is there already; returns what to print.

    Args:
        folder: Where to put it; `data/ml-100k` in RecLM's home by default.
        force: Fetch it anew, in the place of the dataset that is there.
    """
    from recommenders.data.dataset import INFO, Dataset
    from recommenders.data.movielens import fetch_ml_100k

    folder = folder or reclm_home() / "data" / "ml-100k"
    if (folder / INFO).is_file() and not force:
        return describe(Dataset.read(folder), folder) + "\nIt was there already."
    sys.stderr.write("Fetching MovieLens-100K ...\n")
    dataset = fetch_ml_100k()
    dataset.write(folder, replace=force)
    return describe(dataset, folder)


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
        lines["Time"] = f"{_day(pc.min(times).as_py())} to {_day(pc.max(times).as_py())}"
        lines["Weights"] = f"{pc.min(weights).as_py():g} to {pc.max(weights).as_py():g}"
    return "\n".join(f"{name + ':':<14}{value}" for name, value in lines.items())


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
