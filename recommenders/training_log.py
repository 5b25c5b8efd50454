"""The log of a training: a row for each validation, and the best parameters by each metric."""

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

_TAIL = 0.1
"""A best step in this last part of the budget means that training was cut off."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best validation by one metric.

    Attributes:
        value: The metric's value.
        step: The optimiser step after which it was measured, from 1.
        parameters: The model's state at that time, on the CPU.
    """

    value: float
    step: int
    parameters: Mapping[str, Tensor]

    def restore(self, model: GradientModel[Any]) -> None:
        """Loads these parameters into the model and sets it to evaluation mode."""
        model.load_state_dict(self.parameters)
        model.eval()


@dataclass(slots=True)
class OpenRow:
    """Sums since the last row of the log.

    Attributes:
        sums: Term of the loss -> its sum over interactions.
        interactions: Their number.
        seconds: Seconds of training.
    """

    sums: Row = field(default_factory=dict)
    interactions: int = 0
    seconds: float = 0.0

    def add(self, terms: Mapping[str, float], interactions: int, seconds: float) -> None:
        """Adds a step, whose terms are means over its interactions."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * interactions
        self.interactions += interactions
        self.seconds += seconds


@dataclass(slots=True)
class History:
    """The training log.

    Attributes:
        budget: Optimiser steps that were allowed.
        batch_size: Interactions in a step.
        steps: Optimiser steps that were made.
        rows: For each `eval_steps` steps the number of steps and epochs so far, seconds of training
            since the last row, the loss and its terms as means over interactions since then, and
            `validation`, or `validation NAME` for each of several metrics.
        open: What the next row consists of so far.
        bests: Metric -> its best validation, in the order in which they were given; empty if
            nothing was validated.
        waited: Validations since any metric last improved.
        earlier_seconds: Processor time of the training before it was resumed.
    """

    budget: int
    batch_size: int
    steps: int = 0
    rows: list[Row] = field(default_factory=list)
    open: OpenRow = field(default_factory=OpenRow)
    bests: dict[str, Best] = field(default_factory=dict)
    waited: int = 0
    earlier_seconds: float = 0.0

    def close_row(self, interactions: int) -> None:
        """Writes the row of the steps since the last one.

        Args:
            interactions: Interactions in an epoch.
        """
        found = self.open
        means = {name: value / found.interactions for name, value in found.sums.items()}
        whole, rest = divmod(self.steps, -(-interactions // self.batch_size))
        epochs = whole + rest * self.batch_size / interactions
        row = {"step": self.steps, "epoch": round(epochs, 3), "seconds": found.seconds}
        self.rows.append(row | {"loss": sum(means.values())} | means)
        self.open = OpenRow()

    @property
    def best_step(self) -> int:
        """The best step by the first metric; without validation the last step."""
        first = next(iter(self.bests.values()), None)
        return self.steps if first is None else first.step

    @property
    def best(self) -> float | None:
        """The best validation by the first metric; None if nothing was validated."""
        first = next(iter(self.bests.values()), None)
        return None if first is None else first.value

    @property
    def not_converged(self) -> list[str]:
        """Metrics whose best step lies in the last tenth of the budget.

        Training was cut off while they still rose, so what they reached says little about the
        model.
        """
        late = self.budget * (1 - _TAIL)
        return [name for name, best in self.bests.items() if best.step > late]

    def write_csv(self, path: Path) -> None:
        """Writes the rows atomically; a value that a row does not have is left empty."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(columns))
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(path, text.getvalue())
