"""Answers that a comparison keeps: the same command asks no model for what it has written already."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter, ValidationError

from services.common.files import write_json
from services.common.manifests import file_records
from training.errors import TrainingError
from training.evaluation.writers import LocalWriter, Writer, Written
from training.runs.progress import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.evaluation.writers import HeldOut

_ANSWERS = "answers"
_FORMAT = 1
"""Another, once `LocalWriter` writes otherwise: what was kept before is not taken for its own."""

_WRITTEN = TypeAdapter(Written)


class KeepingWriter:
    """A model folder, whose answers are kept once all of them are there.

    They are those of the model's files, the prompts, the limit of tokens and the kind of device:
    with another of these the model is asked anew. Its `seconds` are of when they were written.

    Args:
        writer: The model.
        folder: For a file of each set of answers.
    """

    def __init__(self, writer: LocalWriter, folder: Path) -> None:
        self._writer = writer
        self._folder = folder

    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        """Returns what is kept, or writes and keeps it.

        Raises:
            TrainingError: What is kept is damaged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._key(rows, tokens)}.json"
        if path.is_file():
            try:
                kept = _WRITTEN.validate_json(path.read_bytes(), strict=True)
            except ValidationError as error:
                raise TrainingError(f"{path} is damaged; delete it: {error}") from error
            if len(kept.texts) != len(rows):
                raise TrainingError(
                    f"{path} is damaged; delete it: {len(kept.texts)} answers to {len(rows)} prompts"
                )
            done(len(rows))
            return kept
        written = self._writer(rows, tokens=tokens, done=done)
        write_json(path, asdict(written))
        return written

    def _key(self, rows: Sequence[HeldOut], tokens: int) -> str:
        model = {
            name: record["sha256"] for name, record in file_records(self._writer.folder).items()
        }
        device = "cuda" if torch.cuda.is_available() else "cpu"
        prompts = [[turn.model_dump() for turn in row.prompt] for row in rows]
        asked = json.dumps([_FORMAT, device, model, tokens, prompts])
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


def keeping(writer: Writer, out: Path | None) -> Writer:
    """Has a model folder's answers kept in the folder of a comparison, if it has one.

    A server may have another model tomorrow, and is asked each time.
    """
    if out is None or not isinstance(writer, LocalWriter):
        return writer
    return KeepingWriter(writer, out / _ANSWERS)
