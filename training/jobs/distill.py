"""Knowledge distillation: a small model is trained to write the profiles that a large one wrote.

The first step of RecLM (arXiv 2412.19302). The prompt is the one that the service sends to a model
with an adapter, and the loss covers the profile alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.data.rows import Chat, ProfileRow, read_rows
from training.jobs.supervised import learn
from training.runs.options import SupervisedOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.runs.options import RunPaths


class DistillOptions(SupervisedOptions):
    """Options of distillation."""


def distill(options: DistillOptions, paths: RunPaths, *, progress: Callable[[str], object]) -> Path:
    """Trains an adapter on profiles of users and items, and returns the folder of the adapter.

    Args:
        options: Options of the job.
        paths: Inputs and outputs; the data are rows of `ProfileRow`.
        progress: Called with lines of progress, and with how many rows are left out.

    Raises:
        TrainingError: As `learn` does.
    """
    return learn("distill", options, paths, read=_chats, progress=progress)


def _chats(path: Path) -> list[Chat]:
    return [(*row.prompt, *row.completion) for row in read_rows(ProfileRow, path)]
