"""The log of a training: a row for each epoch, and the best parameters by each metric."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.common.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from recommenders.models.gradient import GradientModel

    Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Best:
    """The best validation by one metric.

    Attributes:
        value: The metric's value.
        epoch: The epoch after which it was measured, from 1.
        parameters: The model's state at that time, on the CPU.
    """

    value: float
    epoch: int
    parameters: Mapping[str, Tensor]

    def restore(self, model: GradientModel[Any]) -> None:
        """Loads these parameters into the model and sets it to evaluation mode."""
        model.load_state_dict(self.parameters)
        model.eval()


@dataclass(slots=True)
class History:
    """The training log.

    Attributes:
        rows: For each epoch its number from 1, seconds of training, the loss and its terms as
            means over interactions, and `validation` where there was one, or `validation NAME`
            for each of several metrics.
        bests: Metric -> its best validation, in the order in which they were given; empty if
            nothing was validated.
        waited: Validations since any metric last improved.
        earlier_seconds: Processor time of the training before it was resumed.
    """

    rows: list[Row] = field(default_factory=list)
    bests: dict[str, Best] = field(default_factory=dict)
    waited: int = 0
    earlier_seconds: float = 0.0

    @property
    def best_epoch(self) -> int:
        """The best epoch by the first metric; without validation the last epoch."""
        first = next(iter(self.bests.values()), None)
        return len(self.rows) if first is None else first.epoch

    @property
    def best(self) -> float | None:
        """The best validation by the first metric; None if nothing was validated."""
        first = next(iter(self.bests.values()), None)
        return None if first is None else first.value

    def write_csv(self, path: Path) -> None:
        """Writes the rows atomically; a value that an epoch does not have is left empty."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(columns))
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(path, text.getvalue())
