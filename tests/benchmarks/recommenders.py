"""Recommenders: our LightGCN and SGL against RecBole's, on MovieLens 1M.

Both sides have a process of their own and take turns, one idle while the other works. An epoch of
RecBole's takes minutes here, so a turn is the beginning of an epoch and some of its batches, and an
epoch is reckoned from them: the beginning, and as many batches as an epoch has, at their median.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from services.common.home import reclm_home
from tests.benchmarks import ml_1m
from tests.benchmarks.cpu import CpuWatch
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.recbole_environment import recbole_python
from tests.benchmarks.sides import Process, Setup

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.stack import Stack

_ROUNDS = 4
_BATCHES = {"lightgcn": 10, "sgl": 5}
"""Batches of a turn."""
_WARM_UP = 2
_EVALUATIONS = 3
_SETUP = Setup(
    model="",
    data="",
    # RecBole's defaults, but for LightGCN's layers (2), which are SGL's here, and the batch, which
    # is RecLM's. Half of it would suit us: it weighs the graph more, where we are further ahead.
    dimension=64,
    layers=3,
    batch_size=4096,
    learning_rate=1e-3,
    decay=1e-5,
    edge_dropout=0.1,
    temperature=0.5,
    contrast_weight=0.05,
    block_scores=32 * 2**20 // 4,
    cutoffs=(20, 40),
    threads=2,
)


@dataclass(slots=True)
class Turns:
    """What one side took.

    Attributes:
        epoch_batches: How many batches an epoch has.
        trained: Seconds to begin an epoch and of each batch, for each turn.
        evaluated: Seconds of each evaluation.
        peak: Bytes, `whole` and `afterwards`.
    """

    epoch_batches: int
    trained: list[tuple[float, list[float]]]
    evaluated: list[float]
    peak: dict[str, int]

    def epochs(self) -> list[float]:
        """Returns the seconds of an epoch by each turn."""
        return [
            begin + self.epoch_batches * statistics.median(batches)
            for begin, batches in self.trained
        ]


def measure(stack: Stack) -> list[Figure]:
    if not ml_1m.FOLDER.is_dir():
        print(f"skipped: {ml_1m.FOLDER} is not there; RECLM_TEST_DATA may name another place")
        return []
    python = recbole_python(reclm_home())
    folder = stack.folder / "recommenders"
    folder.mkdir()
    atomic = ml_1m.write_atomic(ml_1m.read_split(ml_1m.FOLDER), folder / "atomic")
    figures = []
    for model in _BATCHES:
        ours, theirs, others = _turns(model, python, atomic, folder / model)
        notes: dict[str, object] = {"CPU of others": f"{others:.0%}"}
        figures += compared(model, ours, theirs, notes=notes)
    return figures


def compared(model: str, ours: Turns, theirs: Turns, *, notes: dict[str, object]) -> list[Figure]:
    """Returns RecBole's seconds and bytes over ours."""
    where = f"{model}.{ml_1m.NAME}"
    epochs = [b / a for a, b in zip(ours.epochs(), theirs.epochs(), strict=True)]
    seconds = [statistics.median(side.epochs()) for side in (ours, theirs)]
    evaluated = [statistics.median(side.evaluated) for side in (ours, theirs)]
    told: dict[str, object] = {
        "seconds of an epoch": f"ours {seconds[0]:.2f}, RecBole {seconds[1]:.1f}",
        "to begin it": " and ".join(
            f"{statistics.median(begin for begin, _ in side.trained):.2f}"
            for side in (ours, theirs)
        ),
        "batches in it": ours.epoch_batches,
        "turns": len(epochs),
        "batches a turn": len(ours.trained[0][1]),
        "lowest turn": round(min(epochs), 1),
        "highest turn": round(max(epochs), 1),
    }
    peaks = {
        f"{what} MiB": f"ours {ours.peak[key] / 2**20:.0f}, RecBole {theirs.peak[key] / 2**20:.0f}"
        for what, key in (("peak", "whole"), ("peak once the data is read", "afterwards"))
    }
    return [
        Figure(
            f"recommenders.epoch_ratio.{where}",
            seconds[1] / seconds[0],
            "RecBole/ours",
            at_least(8),
            told | notes,
        ),
        Figure(
            f"recommenders.eval_ratio.{where}",
            evaluated[1] / evaluated[0],
            "RecBole/ours",
            at_least(1),
            {"seconds": f"ours {evaluated[0]:.2f}, RecBole {evaluated[1]:.2f}"},
        ),
        Figure(
            f"recommenders.memory_ratio.{where}",
            theirs.peak["whole"] / ours.peak["whole"],
            "RecBole/ours",
            None,
            dict(peaks),
        ),
    ]


def _turns(model: str, python: Path, atomic: Path, folder: Path) -> tuple[Turns, Turns, float]:
    """Returns our side, RecBole's, and the share of the processor that others had meanwhile."""
    folder.mkdir()
    setup = replace(_SETUP, model=model)
    read_by_us = replace(setup, data=str(ml_1m.FOLDER))
    read_by_them = replace(setup, data=str(atomic))
    with (
        Process(
            [sys.executable, "-m", "tests.benchmarks.our_side"], read_by_us, folder / "ours"
        ) as our_side,
        Process(
            [str(python), "-m", "tests.benchmarks.recbole_side"], read_by_them, folder / "theirs"
        ) as their_side,
    ):
        if our_side.work != their_side.work:
            raise RuntimeError(f"unequal work: ours {our_side.work}, RecBole {their_side.work}")
        both = {side: Turns(side.work["batches"], [], [], {}) for side in (our_side, their_side)}
        for side in both:
            side.ask(f"train {_WARM_UP}")
        watch = CpuWatch()
        for turn in range(_ROUNDS):
            for side in list(both)[:: 1 if turn % 2 else -1]:
                found: dict[str, Any] = side.ask(f"train {_BATCHES[model]}")
                both[side].trained.append((found["begin"], found["batches"]))
        for _ in range(_EVALUATIONS):
            for side, turns in both.items():
                turns.evaluated.append(side.ask("evaluate")["seconds"])
        for side, turns in both.items():
            turns.peak = side.ask("peak")
        return both[our_side], both[their_side], watch.others()
