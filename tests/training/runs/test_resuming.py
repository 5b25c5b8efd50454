"""A run that was interrupted is resumed, and ends as if it had not been."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from tests.training import tiny
from tests.training.jobs.cases import CASES
from training.adapters.manifest import read_adapter
from training.errors import TrainingError
from training.jobs import supervised
from training.jobs.distill import DistillOptions, distill
from training.jobs.registry import JOBS
from training.jobs.reward import RewardOptions, reward
from training.modeling.reward_model import ModelReward
from training.runs import run as runs
from training.runs.callbacks import COMPLETE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.rows import Turn

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
OPTIONS = DistillOptions(
    lora=tiny.LORA, learning_rate=1e-2, per_device_train_batch_size=1, max_length=512, max_steps=4,
    activation_checkpointing=False, bf16=False, save_steps=2, logging_steps=1,
)  # fmt: skip

# Each run is a process of its own, forked after the imports: each job is killed in its fourth step
# and resumed, and runs once more without interruption.
_SCRIPT = """
import os, signal, sys, traceback
from pathlib import Path
from tests.training.jobs import cases
from training.jobs.registry import JOBS
from training.runs import callbacks

model, folder = Path(sys.argv[1]), Path(sys.argv[2])
for job in JOBS.values():
    job.load()

def run(name, out, **more):
    cases.run(name, model, folder, folder / out, **more)

def forked(run):
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def killed(name):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    callbacks.Progress.on_step_end = on_step_end
    run(name, f"{name}/killed")

assert forked(lambda: run("reward", "reward-model", max_steps=1)) == 0
for name in JOBS:
    assert forked(lambda: killed(name)) == -signal.SIGKILL
    assert (folder / name / "killed/checkpoints/checkpoint-2").is_dir()
    assert forked(lambda: run(name, f"{name}/killed")) == 0
    assert forked(lambda: run(name, f"{name}/whole")) == 0
"""


@pytest.fixture(scope="module")
def ended(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ended")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tiny_model), str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


def _logged(log: Path, column: str) -> list[tuple[str, str]]:
    with log.open() as file:
        return [(row["step"], row[column]) for row in csv.DictReader(file) if row.get(column)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("job", JOBS)
def test_a_killed_run_that_is_resumed_ends_as_one_that_was_not(ended: Path, job: str) -> None:
    killed, whole = (
        load_file(ended / job / name / "adapter" / "adapter_model.safetensors")
        for name in ("killed", "whole")
    )
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], whole[name]) for name in whole)
    column = CASES[job].logs
    logged = [_logged(ended / job / name / "log.csv", column) for name in ("killed", "whole")]
    assert logged[0] == logged[1]
    assert [step for step, _ in logged[0]] == ["1", "2", "3", "4"]
    assert any(tensor.abs().max() > 0 for name, tensor in whole.items() if "lora_B" in name)
    measured = [
        read_adapter(ended / job / name / "adapter").metrics for name in ("killed", "whole")
    ]
    assert measured[0] == measured[1]


def test_what_ended_after_its_last_step_takes_no_other(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(6))
    paths = tiny.paths(tiny_model, data, tmp_path / "run", evaluation=data)
    changed = {"lr_scheduler_type": "constant", "logging_steps": 3, "packing": False}
    options = OPTIONS.model_copy(update=changed)  # its last step is in the middle of an epoch
    whole = distill(options, replace(paths, out=tmp_path / "whole"), progress=print)
    with monkeypatch.context() as patch:
        patch.setattr(supervised, "_loss", _end)
        with pytest.raises(KeyboardInterrupt):
            distill(options, paths, progress=print)
    (paths.out / "loss.svg").unlink()
    adapter = distill(options, paths, progress=print)
    found, wanted = (load_file(one / "adapter_model.safetensors") for one in (adapter, whole))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert read_adapter(adapter).metrics == read_adapter(whole).metrics
    assert [step for step, _ in _logged(paths.out / "log.csv", "loss")] == ["3", "4"]
    assert (paths.out / "loss.svg").is_file()


def test_what_ended_is_measured_in_the_precision_that_it_was_trained_in(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.write_rows(tmp_path / "pairs.jsonl", tiny.preference_rows(4))
    paths = tiny.paths(tiny_model, data, tmp_path / "run", evaluation=data)
    options = RewardOptions(
        lora=tiny.LORA,
        learning_rate=2e-2,
        per_device_train_batch_size=1,
        max_steps=4,
        activation_checkpointing=False,
    )
    scores: list[list[float]] = []
    measured = ModelReward.scores

    def kept(model: ModelReward, chats: Sequence[Sequence[Turn]]) -> list[float]:
        scores.append(measured(model, chats))
        return scores[-1]

    monkeypatch.setattr(ModelReward, "scores", kept)
    shutil.rmtree(reward(options, paths, progress=print))
    reward(options, paths, progress=print)
    assert len(scores) == 4, "chosen and rejected, twice"
    assert scores[:2] == scores[2:]


def _end(_: object) -> float:
    raise KeyboardInterrupt


class _At(TrainerCallback):
    """Does something when a step begins."""

    def __init__(self, step: int, act: object) -> None:
        self._step = step
        self._act = act

    def on_step_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        if state.global_step == self._step:
            self._act(kwargs["model"])  # type: ignore[operator]


def _train_with(monkeypatch: pytest.MonkeyPatch, callback: TrainerCallback) -> None:
    def train(trainer, run):  # type: ignore[no-untyped-def]
        trainer.add_callback(callback)
        runs.train(trainer, run)

    monkeypatch.setattr(supervised, "train", train)


def test_a_full_disk_keeps_the_last_whole_checkpoint(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(6))
    paths = tiny.paths(tiny_model, data, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"

    def fill(_: object) -> None:
        (checkpoints / "checkpoint-4").mkdir()
        (checkpoints / "checkpoint-4" / "optimizer.pt").symlink_to("/dev/full")

    with monkeypatch.context() as patch:
        _train_with(patch, _At(3, fill))
        with pytest.raises(TrainingError, match=r"could not be written .*checkpoint-2 is kept"):
            distill(OPTIONS, paths, progress=print)
    assert [folder.name for folder in checkpoints.glob("checkpoint-*")] == ["checkpoint-2"]
    assert distill(OPTIONS, paths, progress=print).is_dir()


def test_a_gradient_that_is_not_a_number_stops_before_it_is_used(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(6))

    def poison(model: torch.nn.Module) -> None:
        weight = next(weight for weight in model.parameters() if weight.requires_grad)
        weight.data.fill_(float("nan"))

    _train_with(monkeypatch, _At(3, poison))
    with pytest.raises(TrainingError, match="step 4: a gradient is not a number"):
        distill(OPTIONS, tiny.paths(tiny_model, data, tmp_path / "run"), progress=print)
    checkpoints = tmp_path / "run" / "checkpoints"
    assert [folder.name for folder in checkpoints.glob("checkpoint-*")] == ["checkpoint-2"]
    weights = load_file(checkpoints / "checkpoint-2" / "adapter_model.safetensors")
    assert all(bool(torch.isfinite(weight).all()) for weight in weights.values())
    assert not (tmp_path / "run" / "adapter").exists()


def test_no_run_is_resumed_from_a_checkpoint_without_its_mark(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(6))
    paths = tiny.paths(tiny_model, data, tmp_path / "run")
    run = runs.open_run("distill", OPTIONS, paths, rows=6)
    for step in (2, 10):
        (run.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    assert run.last_checkpoint() is None
    assert list(run.checkpoints.iterdir()) == []
    for step in (2, 10, 12):
        (run.checkpoints / f"checkpoint-{step}").mkdir()
    for step in (2, 10):
        (run.checkpoints / f"checkpoint-{step}" / COMPLETE).touch()
    assert run.last_checkpoint() == run.checkpoints / "checkpoint-10"
    assert not (run.checkpoints / "checkpoint-12").exists()
