"""The folder that collects a teacher's answers, so that an interrupted run can be resumed.

Answers are appended, one a line. A line that a killed run left unfinished is removed, and asked for
again.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import IO, TYPE_CHECKING, Any, Self

from services.common.files import write_text
from training.data.errors import InstructionDataError
from training.data.folder import read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

PLAN, ANSWERS, FAILURES = "plan.json", "answers.jsonl", "failures.jsonl"


class Journal:
    """Answers and failures of one plan. A context manager; one process at a time can hold it open.

    Attributes:
        done: Ids that have an answer.
        prompt_tokens: Prompt tokens of all requests so far, earlier runs included.
        answer_tokens: Tokens of all answers so far.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        """Opens no file yet.

        Args:
            folder: The folder, which is made if it does not exist.
            plan: Everything that decides what is asked and of which model. Answers in the folder
                must belong to the same plan.
        """
        self._folder = folder
        self._plan = json.loads(json.dumps(plan))
        self._files: dict[str, IO[bytes]] = {}
        self.done: set[str] = set()
        self.prompt_tokens = 0
        self.answer_tokens = 0

    def __enter__(self) -> Self:
        """Opens the folder, and removes an unfinished line of a killed run.

        Raises:
            InstructionDataError: Another run has the folder open, it holds other files or answers
                of another plan, or a line cannot be read.
        """
        path = self._folder / PLAN
        if self._folder.exists() and any(self._folder.iterdir()) and not path.is_file():
            raise InstructionDataError(f"{self._folder} holds other files; choose another folder")
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = (self._folder / ANSWERS).open("a+b")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise InstructionDataError(f"{self._folder} is in use by another run") from error
        self._files[ANSWERS] = lock
        try:
            self._check_plan(path)
            self._files[FAILURES] = (self._folder / FAILURES).open("a+b")
            for file in self._files.values():
                _cut_unfinished(file)
            self._count()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def answered(self, row: Mapping[str, Any]) -> None:
        """Saves an answer: a row with `id` and `usage`."""
        self._append(ANSWERS, row)
        self.done.add(row["id"])

    def failed(self, row: Mapping[str, Any]) -> None:
        """Saves a failure, which a later run tries again: a row with `id` and `usage`."""
        self._append(FAILURES, row)

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        file = self._files[name]
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.flush()
        self._add_usage(row)

    def _check_plan(self, path: Path) -> None:
        if not path.is_file():
            write_text(path, json.dumps(self._plan, indent=2, ensure_ascii=False) + "\n")
            return
        try:
            had = json.loads(path.read_bytes())
        except ValueError as error:
            raise InstructionDataError(f"{path} is not JSON: {error}") from error
        members = {*had, *self._plan}
        if other := sorted(name for name in members if had.get(name) != self._plan.get(name)):
            differences = ", ".join(
                f"{name} {had.get(name)!r} and not {self._plan.get(name)!r}" for name in other
            )
            raise InstructionDataError(
                f"{path.parent} has answers for {differences}; choose another folder"
            )

    def _count(self) -> None:
        for name in (ANSWERS, FAILURES):
            for row in read_lines(self._folder / name):
                self._add_usage(row)
                if name == ANSWERS:
                    self.done.add(row["id"])

    def _add_usage(self, row: Mapping[str, Any]) -> None:
        self.prompt_tokens += row["usage"]["prompt_tokens"]
        self.answer_tokens += row["usage"]["answer_tokens"]

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _cut_unfinished(file: IO[bytes]) -> None:
    """Truncates a file after its last complete line."""
    end = file.seek(0, os.SEEK_END)
    step = 1 << 16
    while end:
        start = max(0, end - step)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    file.truncate(end)
    file.seek(0, os.SEEK_END)
