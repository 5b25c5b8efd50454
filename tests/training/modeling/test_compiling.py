from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
import torch
from torch._dynamo.utils import counters

from tests.training import tiny
from training.errors import TrainingError
from training.jobs.distill import DistillOptions, distill
from training.modeling.compiling import compile_layers, there_is_a_compiler

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

OPTIONS = DistillOptions(
    lora=tiny.LORA, learning_rate=5e-2, per_device_train_batch_size=1, max_length=512, num_train_epochs=2, logging_steps=1,
    activation_checkpointing=False, bf16=False, save_steps=100,
)  # fmt: skip


@pytest.mark.skipif(not there_is_a_compiler(), reason="no C++ compiler is here")
def test_compiled_layers_learn_what_others_learn(model_folder: Path, tmp_path: Path) -> None:
    model = tiny.make_model(tmp_path / "model", model_folder, layers=1)
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(12))
    counters.clear()
    losses = {}
    for name in ("plain", "compiled"):
        assert not counters["stats"]["unique_graphs"], "else this compares a thing with itself"
        options = OPTIONS.model_copy(update={"torch_compile": name == "compiled"})
        paths = tiny.paths(model, data, tmp_path / name)
        distill(options, paths, progress=print)
        with (tmp_path / name / "log.csv").open() as file:
            losses[name] = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-3)
    assert len(losses["plain"]) >= 4, "else there were not packs of several lengths"
    assert counters["stats"]["unique_graphs"] == 1, "compiled once for all of them"


def test_without_a_compiler_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainingError, match=r"needs a C\+\+ compiler \(g\+\+ or clang\+\+\)"):
        compile_layers(torch.nn.Module())
