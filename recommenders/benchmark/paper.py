"""The results that the paper reports, from `paper.csv`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.data.split import COLD_ITEMS, FULL, WARM

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = Path(__file__).with_name("paper.csv")
_SETTINGS = {FULL: "full", WARM: "full", COLD_ITEMS: "zero"}


def paper_figures(dataset: str, scenario: str) -> Mapping[tuple[str, str | None], dict[str, float]]:
    """Returns the paper's results for a scenario; empty if it has none.

    Args:
        dataset: `mind` or `netflix`.
        scenario: A scenario of a split; `full` and `warm` both correspond to full-shot.

    Returns:
        Model in the registry and variant -> metric -> value.
    """
    setting = _SETTINGS.get(scenario)
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {
        (row["model"], row["variant"]): {
            name: float(value) for name, value in row.items() if "@" in name
        }
        for row in rows
        if (row["dataset"], row["setting"]) == (dataset, setting)
    }
