"""The tiny model, made once a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.training.tiny import make_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny_model(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama that has the real tokenizer."""
    return make_model(tmp_path_factory.mktemp("tiny") / "tiny-llama", model_folder)
