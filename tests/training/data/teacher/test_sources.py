"""The contract of a source of answers, over every entry of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from training.data.errors import InstructionDataError
from training.data.teacher.sources import SOURCES, SourceInput, read_source

if TYPE_CHECKING:
    from pathlib import Path

NEED_DATASET = {"seed", "ml-1m-gear"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_without_its_input_says_what_it_needs(source: str) -> None:
    needs = "--dataset" if source in NEED_DATASET else "the path"
    with pytest.raises(InstructionDataError, match=f"^{source} needs {needs}"):
        next(read_source(SourceInput(source=source, kinds=("user", "item"))))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ["user", "item"])
def test_an_input_that_is_missing_is_named(source: str, kind: str, tmp_path: Path) -> None:
    given = SourceInput(
        source=source, kinds=(kind,), path=tmp_path / "nowhere", dataset=tmp_path / "nowhere"
    )  # type: ignore[arg-type]
    with pytest.raises((InstructionDataError, DatasetError), match="nowhere"):
        next(read_source(given))
