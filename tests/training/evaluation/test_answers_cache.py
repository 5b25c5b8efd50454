"""Which answers `reclm-train compare` caches, and when it generates them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.common.files import write_json
from services.common.manifests import file_records
from training.data.rows import Turn
from training.errors import TrainingError
from training.evaluation.answers_cache import CachedWriter, cached
from training.evaluation.writers import HeldOut, LocalWriter, ServedWriter, Written
from training.runs.progress import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ROWS = [
    HeldOut(id="1", prompt=(Turn(role="user", content="Heat (1995)"),)),
    HeldOut(id="2", prompt=(Turn(role="user", content="Babe (1995)"),)),
]


class Counting(LocalWriter):
    """Counts its calls."""

    asked = 0

    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        self.asked += 1
        return Written([f"{self.asked} {row.id}" for row in rows], tokens, 0.5)


@pytest.fixture
def model(tmp_path: Path) -> Counting:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return Counting(tmp_path / "model")


def test_the_same_question_is_asked_once(model: Counting, tmp_path: Path) -> None:
    first = CachedWriter(model, tmp_path / "answers")(ROWS, tokens=8)
    told: list[int] = []
    assert CachedWriter(model, tmp_path / "answers")(ROWS, tokens=8, done=told.append) == first
    assert first == Written(["1 1", "1 2"], 8, 0.5)
    assert told == [2]
    assert model.asked == 1


def test_another_question_is_asked_anew(model: Counting, tmp_path: Path) -> None:
    write = CachedWriter(model, tmp_path / "answers")
    write(ROWS, tokens=8)
    write(ROWS, tokens=9)
    write(ROWS[:1], tokens=8)
    write(ROWS[1:], tokens=8)
    assert model.asked == 4


def test_another_model_is_asked_anew_whatever_its_manifest_says(
    model: Counting, tmp_path: Path
) -> None:
    write_json(model.folder / "manifest.json", {"files": file_records(model.folder)})
    write = CachedWriter(model, tmp_path / "answers")
    write(ROWS, tokens=8)
    (model.folder / "config.json").write_text('{"another": "model"}')
    write(ROWS, tokens=8)
    assert model.asked == 2


@pytest.mark.parametrize("kept", ['{"texts": [1, 2]}', '{"texts": ["one"]}', "{"])
def test_damage_is_told(model: Counting, tmp_path: Path, kept: str) -> None:
    write = CachedWriter(model, tmp_path / "answers")
    write(ROWS, tokens=8)
    (file,) = (tmp_path / "answers").iterdir()
    file.write_text(kept)
    with pytest.raises(TrainingError, match="is damaged; delete it"):
        write(ROWS, tokens=8)


def test_where_nothing_can_be_kept_no_model_is_asked(model: Counting, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        CachedWriter(model, tmp_path / "file" / "answers")(ROWS, tokens=8)
    assert model.asked == 0


def test_a_server_is_always_asked(model: Counting, tmp_path: Path) -> None:
    served = ServedWriter("http://127.0.0.1:9", "films")
    assert cached(served, tmp_path) is served
    assert cached(model, None) is model
    kept = cached(model, tmp_path / "out")
    kept(ROWS, tokens=8)
    assert len(list((tmp_path / "out/answers").iterdir())) == 1
