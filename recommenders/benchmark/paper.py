"""The paper's own figures, from `paper.csv` beside this file, to be shown beside ours."""

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
    """Returns what the paper reports for a scenario; empty where it has none like it.

    Args:
        dataset: `mind` or `netflix`.
        scenario: A scenario of a split; full-shot stands beside both `full` and `warm`.

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
