"""Every shipped grid can be read and begins with the command that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

import recommenders
from recommenders.benchmark.experiment import read_experiment
from recommenders.study.plan import read_study

FOLDER = Path(recommenders.__file__).parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
STUDIES = [path for path in CONFIGS if path.stem.endswith("-cold-users")]
GRIDS = [path for path in CONFIGS if path not in STUDIES]


def test_there_are_some() -> None:
    assert GRIDS
    assert STUDIES


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_can_be_read(path: Path) -> None:
    assert {way.name for way in read_study(path).ways} == {
        *("popularity", "fold-in", "profile", "both")
    }
    command = path.read_text().splitlines()[0]
    assert command.startswith(
        f"# reclm-recommend study cold-users recommenders/configs/{path.name}"
    )


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_shipped_grid_can_be_read(path: Path) -> None:
    experiment = read_experiment(path)
    assert (experiment.protocol == "paper") == path.stem.endswith("-paper")
    command = path.read_text().splitlines()[0]
    assert command.startswith(f"# reclm-recommend benchmark recommenders/configs/{path.name} ")
