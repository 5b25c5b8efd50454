"""Callbacks of a trainer: checks of gradients and checkpoints, log, loss curve, progress."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from services.common.files import atomic_path, write_text
from training.errors import TrainingError
from training.runs.progress import ProgressReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from transformers import TrainerControl, TrainerState, TrainingArguments

COMPLETE = ".complete"
"""A checkpoint without this file was not written completely."""


class Guard(TrainerCallback):
    """Refuses gradients and weights that are not finite, and marks complete checkpoints."""

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Checks every gradient before the optimiser uses it."""
        gradients = (parameter.grad for parameter in kwargs["model"].parameters())
        require_finite(gradients, "gradient", state.global_step + 1)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Checks every weight before a checkpoint can hold it: PPO's loop has no earlier event."""
        weights = (weight for weight in kwargs["model"].parameters() if weight.requires_grad)
        require_finite(weights, "weight", state.global_step)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Marks the checkpoint just written as complete."""
        if state.is_world_process_zero:
            mark_complete(_checkpoint(args, state))


def require_finite(tensors: Iterable[torch.Tensor | None], what: str, step: int) -> None:
    """Checks that tensors are finite.

    Raises:
        TrainingError: One is not.
    """
    for tensor in tensors:
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"step {step}: a {what} is not a number. Nothing of that step is saved. Start again "
                "with a lower learning_rate and another --out"
            )


def mark_complete(checkpoint: Path) -> None:
    """Marks a checkpoint as written completely."""
    (checkpoint / COMPLETE).touch()


class Log(TrainerCallback):
    """Writes the training log as CSV, a line for each logged step, and the loss curve at the end.

    The last step is logged too, whatever `logging_steps` is. The file is written again each time from
    the trainer's log, which checkpoints contain: after a resumed run it holds each step once.

    Args:
        folder: Folder of `log.csv` and `loss.svg`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Logs the last step."""
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Writes the CSV."""
        if state.is_world_process_zero:
            write_csv(state.log_history, self._folder / "log.csv")

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Draws the loss curve, or the reward where there is no loss."""
        if state.is_world_process_zero:
            draw(state.log_history, self._folder / "loss.svg")


class Progress(TrainerCallback):
    """Reports progress every few seconds, with the remaining time.

    Args:
        progress: Called with a line.
    """

    def __init__(self, progress: Callable[[str], object]) -> None:
        self._progress = progress
        self._reporter: ProgressReporter | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Starts the clock."""
        if state.is_world_process_zero:
            self._reporter = ProgressReporter(
                self._progress, "step", state.max_steps, first=state.global_step
            )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Reports the step and the last loss."""
        if self._reporter is not None:
            losses = (entry["loss"] for entry in reversed(state.log_history) if "loss" in entry)
            loss = next(losses, None)
            self._reporter.at(state.global_step, "" if loss is None else f"loss {loss:.4g}")


def write_csv(log: Sequence[Mapping[str, float]], path: Path) -> None:
    """Writes a training log as CSV, a line for each entry, with the columns of all entries."""
    names = {name for entry in log for name in entry} - {"step"}
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["step", *sorted(names)], restval="")
    writer.writeheader()
    writer.writerows(log)
    write_text(path, file.getvalue())


def draw(log: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws loss and reward over the steps, those that were logged, as SVG."""
    from matplotlib.figure import Figure

    curves = {
        name: points
        for name in ("loss", "reward", "objective/scores", "eval_loss")
        if (points := [(e["step"], e[name]) for e in log if math.isfinite(e.get(name, math.nan))])
    }
    figure = Figure(figsize=(7, 2.5 * max(1, len(curves))), layout="constrained")
    for place, (name, points) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(len(curves), 1, place)
        axes.plot([step for step, _ in points], [value for _, value in points], marker=".")
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(visible=True, alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    from pathlib import Path

    return Path(str(args.output_dir), f"checkpoint-{state.global_step}")
