"""What is kept of a training: a row for each epoch, and the best parameters by each measure."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from recommenders.models.gradient import GradientModel

    Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Best:
    """The best validation by one measure.

    Attributes:
        value: What it was.
        epoch: After which epoch, counted from 1.
        parameters: The model's state then, on the CPU.
    """

    value: float
    epoch: int
    parameters: Mapping[str, Tensor]

    def restore(self, model: GradientModel[Any]) -> None:
        """Gives the model these parameters, ready to score."""
        model.load_state_dict(self.parameters)
        model.eval()


@dataclass(slots=True)
class History:
    """How training went.

    Attributes:
        rows: For each epoch, its number from 1, seconds of training, the loss and its terms as
            means over interactions, and `validation` where there was one, or `validation NAME`
            for each of several measures.
        bests: Measure -> its best validation, in the order in which they were given; empty where
            nothing was validated.
        waited: Validations since one of them was better than before.
        earlier_seconds: What training had taken of a processor before it was resumed.
    """

    rows: list[Row] = field(default_factory=list)
    bests: dict[str, Best] = field(default_factory=dict)
    waited: int = 0
    earlier_seconds: float = 0.0

    @property
    def best_epoch(self) -> int:
        """Whose parameters the model has: the first measure's; the last where there is none."""
        first = next(iter(self.bests.values()), None)
        return len(self.rows) if first is None else first.epoch

    @property
    def best(self) -> float | None:
        """The first measure's best validation; None where nothing was validated."""
        first = next(iter(self.bests.values()), None)
        return None if first is None else first.value

    def write_csv(self, path: Path) -> None:
        """Writes the rows; a value that an epoch does not have is left empty."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        scratch = path.with_name(f".{path.name}.new")
        with scratch.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(self.rows)
        scratch.replace(path)
