"""Every grid that is shipped can be read, and begins with the command that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

import recommenders
from recommenders.benchmark.experiment import read_experiment

FOLDER = Path(recommenders.__file__).parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def test_there_are_some() -> None:
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_grid_can_be_read(path: Path) -> None:
    experiment = read_experiment(path)
    assert (experiment.protocol == "paper") == path.stem.endswith("-paper")
    command = path.read_text().splitlines()[0]
    assert command.startswith(f"# reclm-recommend benchmark recommenders/configs/{path.name} ")
