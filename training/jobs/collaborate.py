"""Collaborative instruction tuning: a model is trained on what similar users have in common.

The second step of RecLM (arXiv 2412.19302). In the first turn the model writes profiles from a
user's own history and from those of similar users; in the second it says whether the user will
choose an item. The loss covers both of its answers and no token of the prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.data.rows import Chat, DialogueRow, read_rows
from training.jobs.supervised import learn
from training.runs.options import SupervisedOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.runs.options import RunPaths


class CollaborateOptions(SupervisedOptions):
    """Options of collaborative tuning."""


def collaborate(
    options: CollaborateOptions, paths: RunPaths, *, progress: Callable[[str], object]
) -> Path:
    """Trains an adapter on two-turn chats about users, and returns the folder of the adapter.

    Args:
        options: Options of the job.
        paths: Inputs and outputs; the data are rows of `DialogueRow`.
        progress: Called with lines of progress, and with how many rows are left out.

    Raises:
        TrainingError: As `learn` does.
    """
    return learn("collaborate", options, paths, read=_chats, progress=progress)


def _chats(path: Path) -> list[Chat]:
    return [row.messages for row in read_rows(DialogueRow, path)]
