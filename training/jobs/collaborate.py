"""Collaborative instruction tuning: a model learns what similar users have in common.

The second step of RecLM (arXiv 2412.19302): in the first turn it writes profiles from a user's own
and similar users' histories, in the second it says whether the user will choose an item. Loss lies
on both of its answers, and on no word of the prompts.
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
    """Trains an adapter on two-turn chats about users, and returns its folder.

    Args:
        options: How.
        paths: Where; the data are rows of `DialogueRow`.
        progress: Told of progress, and what is left out.

    Raises:
        TrainingError: As `learn` does.
    """
    return learn("collaborate", options, paths, read=_chats, progress=progress)


def _chats(path: Path) -> list[Chat]:
    return [row.messages for row in read_rows(DialogueRow, path)]
