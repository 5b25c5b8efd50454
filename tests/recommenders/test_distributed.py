"""Two processes, each with half of every batch, learn what one learns with all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from recommenders.distributed import SINGLE_PROCESS, joined
from recommenders.models.errors import ModelError
from recommenders.models.gradient import Batch
from tests.recommenders.member import Member
from tests.support.processes import TORCHRUN

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driven(TORCHRUN, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driven([sys.executable], tmp_path_factory.mktemp("one"))


def driven(launcher: Sequence[str], folder: Path) -> Path:
    done = subprocess.run(
        [*launcher, "-m", "tests.recommenders.distributed_driver", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


def logged(run: Path, what: str) -> list[float]:
    rows: list[dict[str, float]] = json.loads((run / "rows.json").read_text())
    return [row[what] for row in rows]


@pytest.mark.parametrize("name", ["bias_mf", "lightgcn", "whole"], ids=lambda name: name)
def test_two_processes_learn_what_one_does(name: str, one: Path, two: Path) -> None:
    assert logged(two / name, "loss") == pytest.approx(logged(one / name, "loss"), rel=1e-4)
    assert set(logged(two / name, "validation")) == {1}
    first, second = (load_file(two / name / f"{rank}.safetensors") for rank in (0, 1))
    for key, value in load_file(one / name / "0.safetensors").items():
        torch.testing.assert_close(first[key], second[key], rtol=0, atol=0)
        # Where a gradient is nearly 0, rounding is all that Adam sees: hence the tolerance.
        torch.testing.assert_close(first[key], value, atol=2e-3, rtol=1e-3)


def test_a_group_of_processes_goes_on_as_if_it_had_not_stopped(two: Path) -> None:
    whole = logged(two / "whole", "loss")
    assert len(whole) == 3
    assert logged(two / "parts", "loss") == whole
    first, second = (load_file(two / "whole" / f"{rank}.safetensors") for rank in (0, 1))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=0)


def test_a_batch_is_shared_out_whole() -> None:
    rows = torch.arange(7)
    batch = Batch(rows, rows + 10, rows + 20)
    shares = [Member(3, rank).share(batch) for rank in range(3)]
    assert torch.cat([share.users for share, _ in shares]).tolist() == rows.tolist()
    assert torch.cat([share.negatives for share, _ in shares]).tolist() == (rows + 20).tolist()
    assert [len(share) / 7 for share, _ in shares] == [part for _, part in shares]
    assert sum(part for _, part in shares) == pytest.approx(1)
    small = batch.part(0, 2)
    assert [Member(3, rank).share(small) for rank in range(3)] == [(small, 1 / 3)] * 3
    assert SINGLE_PROCESS.share(batch)[1] == 1


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="torch sees no GPU"), joined("cuda"):
        pass
