"""A cache of model folders' answers, so that a second comparison need not generate them again."""

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
"""Changes when `LocalWriter` generates other answers: cached ones of an older format are not used."""

_WRITTEN = TypeAdapter(Written)


class CachedWriter:
    """Caches the answers of a model folder once all of them are generated.

    The key consists of the model's files, the prompts, the limit of tokens and the kind of device.
    `seconds` is the time that generating took.

    Args:
        writer: The model.
        folder: Folder of the cache, with a file for each set of answers.
    """

    def __init__(self, writer: LocalWriter, folder: Path) -> None:
        self._writer = writer
        self._folder = folder

    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        """Returns the cached answers, or generates and caches them.

        Raises:
            TrainingError: A file of the cache is damaged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._key(rows, tokens)}.json"
        if path.is_file():
            try:
                cached = _WRITTEN.validate_json(path.read_bytes(), strict=True)
            except ValidationError as error:
                raise TrainingError(f"{path} is damaged; delete it: {error}") from error
            if len(cached.texts) != len(rows):
                raise TrainingError(
                    f"{path} is damaged; delete it: {len(cached.texts)} answers to {len(rows)} prompts"
                )
            done(len(rows))
            return cached
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


def cached(writer: Writer, out: Path | None) -> Writer:
    """Adds a cache in the folder of a comparison to a model folder.

    The answers of a server are not cached, since it may serve another model later.
    """
    if out is None or not isinstance(writer, LocalWriter):
        return writer
    return CachedWriter(writer, out / _ANSWERS)
