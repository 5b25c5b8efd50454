from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recommenders.data.indexed import pairs
from recommenders.data.split import WARM, Part, Scenario, Split
from tests.benchmarks import ml_1m, recommenders
from tests.benchmarks.sides import Marks, Process, Setup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETUP: Setup = replace(recommenders._SETUP, model="lightgcn", threads=1)


def turns(begin: float, *batches: list[float], peak: int) -> recommenders.Turns:
    return recommenders.Turns(
        epoch_batches=100,
        trained=[(begin, each) for each in batches],
        evaluated=[1.0, 3.0, 2.0],
        peak={"whole": peak, "afterwards": peak},
    )


def test_an_epoch_is_its_beginning_and_all_its_batches_at_the_median_of_a_turn() -> None:
    side = turns(2.0, [0.1, 9.0, 0.3], [0.2], peak=1)
    assert side.epochs() == pytest.approx([2 + 100 * 0.3, 2 + 100 * 0.2])


def test_ratios_are_recboles_over_ours() -> None:
    ours, theirs = turns(0, [0.1], [0.1], peak=100), turns(10, [0.7], [0.9], peak=250)
    found = recommenders.compared("sgl", ours, theirs, notes={"CPU of others": "1%"})
    figures = {figure.name: figure for figure in found}
    epoch = figures["recommenders.epoch_ratio.sgl.ml-1m"]
    assert epoch.value == pytest.approx(9)  # 10 s and 100 batches of 0.8 s, over 10 s
    assert epoch.goal is not None
    assert str(epoch.goal) == ">= 8"
    assert (epoch.notes["lowest turn"], epoch.notes["highest turn"]) == (8.0, 10.0)
    assert epoch.notes["CPU of others"] == "1%"
    assert figures["recommenders.eval_ratio.sgl.ml-1m"].value == 1
    assert figures["recommenders.memory_ratio.sgl.ml-1m"].value == 2.5


def test_marks_let_so_many_batches_pass_and_time_what_is_done_between_and_after() -> None:
    drawn = []

    def batches() -> Iterator[int]:
        for number in range(10):
            drawn.append(number)
            yield number

    marks = Marks(3)
    assert list(marks(batches())) == [0, 1, 2]
    assert drawn == [0, 1, 2]  # no batch is drawn that nobody trains with
    seconds = marks.seconds()["batches"]
    assert isinstance(seconds, list)
    assert len(seconds) == 3


def test_recbole_reads_the_very_pairs_of_each_part(tmp_path: Path) -> None:
    shape = (3, 4)
    train = pairs(np.array([0, 0, 2]), np.array([3, 1, 0]), shape)
    found = pairs(np.array([2]), np.array([1]), shape)
    later = pairs(np.array([0, 2]), np.array([2, 3]), shape)
    split = Split(
        name="by hand",
        train=train,
        train_rows=np.arange(3),
        scenarios={
            WARM: Scenario(
                validation=Part(known=train, relevant=found), test=Part(known=train, relevant=later)
            )
        },
    )
    folder = ml_1m.write_atomic(split, tmp_path / "atomic") / "ml-1m"
    header = "user_id:token\titem_id:token\n"
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert texts == {
        "ml-1m.train.inter": f"{header}0\t1\n0\t3\n2\t0\n",
        "ml-1m.valid.inter": f"{header}2\t1\n",
        "ml-1m.test.inter": f"{header}0\t2\n2\t3\n",
    }


def test_a_side_that_ends_is_told_of_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such data set')"]
    with (
        pytest.raises(RuntimeError, match="no such data set"),
        Process(command, SETUP, tmp_path / "side"),
    ):
        pass


def test_what_a_library_prints_does_not_come_between_the_answers(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import sys\n"
        "from tests.benchmarks import sides\n"
        "class Noisy:\n"
        "    def __init__(self, setup): print('reading', setup.model)\n"
        "    def work(self): return {'batches': 2}\n"
        "    def train(self, mark): print(list(mark(range(9))))\n"
        "    def evaluate(self): return {'recall@20': 0.5}\n"
        "sys.exit(sides.serve(Noisy))\n"
    )
    command = [sys.executable, str(tmp_path / "noisy.py")]
    with Process(command, SETUP, tmp_path / "side") as side:
        assert side.work == {"batches": 2}
        assert len(side.ask("train 4")["batches"]) == 4
        assert side.ask("evaluate")["metrics"] == {"recall@20": 0.5}
        assert side.ask("peak")["whole"] > 2**20


def test_without_the_data_nothing_is_measured_and_the_reason_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.benchmarks.stack import Stack

    monkeypatch.setattr(ml_1m, "FOLDER", tmp_path / "ml-1m")
    with Stack(tmp_path) as stack:
        assert recommenders.measure(stack) == []
    assert f"skipped: {tmp_path / 'ml-1m'} is not there" in capsys.readouterr().out
