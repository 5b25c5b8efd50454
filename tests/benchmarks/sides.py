"""How a benchmark talks with the two recommenders that it holds against each other.

Each runs in a process of its own, which reads a command from each line of its input and answers
with a line of JSON. Standard library only: RecBole's side has another environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from tests.benchmarks.peak import forget_peak, peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What both sides are told.

    Attributes:
        model: `lightgcn` or `sgl`.
        data: Folder of the data set, as the side reads it.
        edge_dropout: Share of the edges that a view of SGL lacks.
        contrast_weight: Of SGL's contrast beside BPR's loss.
        decay: Of embeddings.
        block_scores: Scores that are held at once while items are ranked.
    """

    model: str
    data: str
    dimension: int
    layers: int
    batch_size: int
    learning_rate: float
    decay: float
    edge_dropout: float
    temperature: float
    contrast_weight: float
    block_scores: int
    cutoffs: tuple[int, ...]
    threads: int


class Side(Protocol):
    """A recommender with its data."""

    def work(self) -> dict[str, int]:
        """Returns how much an epoch and an evaluation are, to be the same on both sides."""
        ...

    def train(self, mark: Callable[[Iterable[Any]], Iterator[Any]]) -> None:
        """Begins an epoch and goes through those of its batches that `mark` lets pass."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Ranks all items for all users of the test part, embeddings worked out anew."""
        ...


class Marks:
    """When an epoch had begun, and when each of its batches was done.

    A batch is done when the next one is asked for, so it has its negatives drawn within its time.
    """

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._times = [time.perf_counter()]

    def __call__(self, batches: Iterable[B]) -> Iterator[B]:
        """Passes on the first batches; marks the time before, between and after them."""
        passing = islice(iter(batches), self._batches)
        self._times.append(time.perf_counter())
        for batch in passing:
            yield batch
            self._times.append(time.perf_counter())

    def seconds(self) -> dict[str, object]:
        """Returns what it took to begin, and each batch."""
        begun, *done = (b - a for a, b in zip(self._times, self._times[1:], strict=False))
        return {"begin": begun, "batches": done}


def serve(make: Callable[[Setup], Side]) -> int:
    """Answers commands until there are no more: `train N` batches, `evaluate`, `peak`."""
    # What a library prints must not come between the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)

        def answer(found: Mapping[str, object]) -> None:
            print(json.dumps(found), file=answers, flush=True)

        given = json.loads(sys.argv.pop())
        side = make(Setup(**given | {"cutoffs": tuple(given["cutoffs"])}))
        built = peak_bytes()
        forget_peak()
        answer(side.work())
        for line in sys.stdin:
            command, *count = line.split()
            if command == "train":
                marks = Marks(int(*count))
                side.train(marks)
                answer(marks.seconds())
            elif command == "evaluate":
                started = time.perf_counter()
                metrics = side.evaluate()
                answer({"seconds": time.perf_counter() - started, "metrics": metrics})
            elif command == "peak":
                answer({"whole": max(built, peak_bytes()), "afterwards": peak_bytes()})
            else:
                raise ValueError(f"there is no command {command!r}")
    return 0


class Process:
    """A side in a process of its own.

    Args:
        command: Runs it; the setup is added.
        folder: Where it runs, and its log goes.
    """

    def __init__(self, command: Sequence[str], setup: Setup, folder: Path) -> None:
        folder.mkdir()
        self._log = folder / "log"
        env = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "OMP_NUM_THREADS": str(setup.threads),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, json.dumps(asdict(setup))],
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.work: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self.work = self._answer()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def ask(self, command: str) -> dict[str, Any]:
        """Returns the answer to a command.

        Raises:
            RuntimeError: The process has ended; the end of its log is in the message.
        """
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-4000:]
            raise RuntimeError(f"{self._process.args!r} ended:\n{tail}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()
