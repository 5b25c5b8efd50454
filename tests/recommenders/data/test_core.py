from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.cli import main
from recommenders.data.core import core
from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from pathlib import Path

# d is removed (one user), then user 4 (one item left), then c (one user left).
CHOSEN = {"1": "ab", "2": "ab", "3": "abc", "4": "cd"}
CHOICES = [(user, item, at) for user, items in CHOSEN.items() for at, item in enumerate(items)]


def test_what_falls_takes_others_with_it() -> None:
    found = core(dataset(CHOICES), users=2, items=2, name="few")
    assert found.histories() == {"1": ["a", "b"], "2": ["a", "b"], "3": ["a", "b"]}
    assert found.items["item_id"].to_pylist() == ["a", "b"]
    assert found.info.name == "few"
    assert "at least 2 interactions" in str(found.info.split)


def test_what_is_often_enough_stays_as_it_is() -> None:
    whole = dataset(CHOICES)
    found = core(whole, users=1, items=1, name="all")
    assert found.interactions.equals(whole.interactions)
    assert found.items.equals(whole.items)


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DatasetError, match="ask for fewer"):
        core(dataset(CHOICES), users=4, items=1, name="none")


def test_the_command_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset(CHOICES).write(tmp_path / "all")
    command = ["data", "core", str(tmp_path / "all"), "--users", "2", "--items", "2"]
    assert main([*command, "--out", str(tmp_path / "few")]) == 0
    assert "Items:        2" in capsys.readouterr().out
    assert Dataset.read(tmp_path / "few").info.name == "few"
