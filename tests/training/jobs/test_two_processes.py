"""Two processes with half of every batch each get the losses of one process with all of it."""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import TORCHRUN
from tests.training import tiny
from training.adapters.manifest import read_adapter
from training.jobs.distill import DistillOptions, distill

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def _losses(run: Path) -> list[float]:
    with (run / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


@pytest.mark.parametrize("packing", [False, True], ids=["rows", "packs"])
def test_two_gloo_processes_have_the_loss_of_one(
    tiny_model: Path, tmp_path: Path, *, packing: bool
) -> None:
    # Eight rows are two packs, one for each process in each step.
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(8))
    before = DistillOptions(
        lora=tiny.LORA, max_steps=1, max_length=512, activation_checkpointing=False
    )
    start = distill(before, tiny.paths(tiny_model, data, tmp_path / "before"), progress=print)
    options = {
        "learning_rate": 1e-2, "max_steps": 3, "logging_steps": 1, "bf16": False, "packing": packing,
        "activation_checkpointing": False, "max_length": 512, "lora": {"r": 4, "lora_alpha": 8},
    }  # fmt: skip
    config = tmp_path / "two.yaml"
    lines = [f"{name}: {value}" for name, value in options.items() if name != "lora"]
    lines += ["per_device_train_batch_size: 1", "lora: {r: 4, lora_alpha: 8}"]
    config.write_text("\n".join(lines).replace("False", "false").replace("True", "true"))
    # Without "--", torchrun takes --start for a short form of its own --start-method.
    command = [*TORCHRUN, "-m", "--", "training.cli", "distill", "--config", str(config)]
    command += ["--data", str(data), "--evaluation", str(data), "--start", str(start)]
    command += ["--model", str(tiny_model), "--out", str(tmp_path / "two")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    twice = (
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
        if packing
        else {"per_device_train_batch_size": 2}
    )
    one = DistillOptions.model_validate({**options, **twice})
    paths = tiny.paths(tiny_model, data, tmp_path / "one", start=start, evaluation=data)
    distill(one, paths, progress=print)
    assert _losses(tmp_path / "two") == pytest.approx(_losses(tmp_path / "one"), rel=1e-4)
    found, wanted = (
        read_adapter(tmp_path / run / "adapter").metrics["eval_loss"] for run in ("two", "one")
    )
    assert found == pytest.approx(wanted, rel=1e-4)
