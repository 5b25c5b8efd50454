"""What looks on while a job trains: stops it before harm is kept, tells of it, draws it."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from training.errors import TrainingError
from training.runs.progress import ProgressReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from transformers import TrainerControl, TrainerState, TrainingArguments

COMPLETE = ".complete"
"""A checkpoint without this file was not written to its end."""


class Guard(TrainerCallback):
    """Lets no step be taken on a gradient that is not a number, and marks whole checkpoints."""

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Looks at every gradient before it is used."""
        gradients = (parameter.grad for parameter in kwargs["model"].parameters())
        require_finite(gradients, "gradient", state.global_step + 1)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Looks at every weight before it can be kept: PPO's loop has no earlier place."""
        weights = (weight for weight in kwargs["model"].parameters() if weight.requires_grad)
        require_finite(weights, "weight", state.global_step)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Says of the checkpoint just written that it is whole."""
        if state.is_world_process_zero:
            mark_complete(_checkpoint(args, state))


def require_finite(tensors: Iterable[torch.Tensor | None], what: str, step: int) -> None:
    """Makes sure that tensors hold numbers.

    Raises:
        TrainingError: One does not.
    """
    for tensor in tensors:
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"step {step}: a {what} is not a number. Nothing of that step is kept. Start again "
                "from the last checkpoint with a lower learning_rate, in a folder of its own"
            )


def mark_complete(checkpoint: Path) -> None:
    """Says of a checkpoint that all of it is written."""
    (checkpoint / COMPLETE).touch()


class Log(TrainerCallback):
    """Keeps what the trainer logs as CSV, a line a step, and draws the loss when it is done.

    The last step is logged too, however many there are to a line.

    The file is written anew from the trainer's own history, which checkpoints carry: after a
    resumed run it holds each step once.

    Args:
        folder: For `log.csv` and `loss.svg`.
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
        """Has the last step logged."""
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
        """Draws the loss, or where there is none, the reward."""
        if state.is_world_process_zero:
            draw(state.log_history, self._folder / "loss.svg")


class Progress(TrainerCallback):
    """Tells how far the job is, by the clock, and how long the rest takes.

    Args:
        progress: Told a line.
    """

    def __init__(self, progress: Callable[[str], object]) -> None:
        self._print_progress = progress
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
                self._print_progress, "step", state.max_steps, first=state.global_step
            )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Tells, if it is time to."""
        if self._reporter is not None:
            losses = (entry["loss"] for entry in reversed(state.log_history) if "loss" in entry)
            loss = next(losses, None)
            self._reporter.at(state.global_step, "" if loss is None else f"loss {loss:.4g}")


def write_csv(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Writes a trainer's history, a line for each step, with the columns of all lines."""
    names = {name for entry in history for name in entry} - {"step"}
    columns = ["step", *sorted(names)]
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(history)
    temporary.replace(path)


def draw(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws loss and reward over the steps, whichever there are, as SVG."""
    from matplotlib.figure import Figure

    curves = {
        name: points
        for name in ("loss", "reward", "objective/scores", "eval_loss")
        if (
            points := [
                (e["step"], e[name]) for e in history if math.isfinite(e.get(name, math.nan))
            ]
        )
    }
    figure = Figure(figsize=(7, 2.5 * max(1, len(curves))), layout="constrained")
    for place, (name, points) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(len(curves), 1, place)
        axes.plot([step for step, _ in points], [value for _, value in points], marker=".")
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(visible=True, alpha=0.3)
    temporary = path.with_name(f".{path.name}.new")
    figure.savefig(temporary, format="svg", metadata={"Date": None})
    temporary.replace(path)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    from pathlib import Path

    return Path(str(args.output_dir), f"checkpoint-{state.global_step}")
