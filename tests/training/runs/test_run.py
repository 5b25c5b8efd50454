"""What a run records of what it depends on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT
from tests.training import tiny
from training.jobs.distill import DistillOptions
from training.runs.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

BARE = component(CURRENT, examples=False)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (None, {"name": BARE.name, "hash": BARE.hash}),
        ({"builder": "teacher"}, {"name": BARE.name, "hash": BARE.hash}),
        (
            {"prompt": {"name": "profile-v2", "hash": "0123456789ab", "history_tokens": 384}},
            {"name": "profile-v2", "hash": "0123456789ab"},
        ),
    ],
)
def test_the_prompt_is_that_of_the_data(
    manifest: dict[str, Any] | None, expected: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    rows = tiny.write_rows(tmp_path / "train.jsonl", tiny.distill_rows(2))
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    paths = tiny.paths(tiny_model, rows, tmp_path / "out")
    run = open_run("distill", DistillOptions(), paths, rows=2)
    assert run.identity["prompt"] == expected
