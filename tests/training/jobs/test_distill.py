from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.training import tiny
from training.adapters.manifest import chain, read_adapter
from training.errors import TrainingError
from training.jobs.distill import DistillOptions, distill
from training.modeling.lora import add_adapter, load_model
from training.runs.options import LoraOptions

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = DistillOptions(
    lora=tiny.LORA, learning_rate=5e-2, per_device_train_batch_size=1, max_length=512, num_train_epochs=3, logging_steps=1,
    activation_checkpointing=False, bf16=False, save_steps=100,
)  # fmt: skip


def _ignore(_: str) -> None:
    pass


def test_distillation_learns_and_leaves_adapter_log_and_plot(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(6))
    out = tmp_path / "run"
    adapter = distill(OPTIONS, tiny.paths(tiny_model, data, out, evaluation=data), progress=_ignore)
    with (out / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
    assert losses[-1] < losses[0] - 1
    assert b"<svg" in (out / "loss.svg").read_bytes()[:2000]
    assert list((out / "tensorboard").iterdir())
    manifest = read_adapter(adapter)
    assert (manifest.job, manifest.base_model["name"]) == ("distill", "tiny-llama")
    assert manifest.data["rows"] == 6
    assert manifest.metrics["eval_loss"] < losses[0] - 1
    assert chain(adapter) == [adapter]
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-llama"
    assert set(config["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


def test_the_loss_on_evaluation_rows_does_not_depend_on_how_they_are_packed(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(7))
    losses = []
    for name, how in {
        "rows": {"packing": False},
        "packs": {},
        "large packs": {"per_device_train_batch_size": 2},
    }.items():
        options = OPTIONS.model_copy(update={"max_steps": 1, "learning_rate": 1e-9, **how})
        paths = tiny.paths(tiny_model, data, tmp_path / name, evaluation=data)
        losses.append(read_adapter(distill(options, paths, progress=_ignore)).metrics["eval_loss"])
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-5)


def test_packs_are_learnt_from_in_bfloat16_and_with_checkpointing(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(9))
    losses = []
    for number, how in enumerate(({}, {"activation_checkpointing": True}, {"bf16": True})):
        options = OPTIONS.model_copy(
            update={
                "max_steps": 2,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                **how,
            }
        )
        paths = tiny.paths(tiny_model, data, tmp_path / str(number))
        losses.append(read_adapter(distill(options, paths, progress=_ignore)).metrics["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=2e-2)


def test_an_adapter_on_top_of_another_carries_it(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(4))
    options = OPTIONS.model_copy(update={"num_train_epochs": 1.0})
    first = distill(options, tiny.paths(tiny_model, data, tmp_path / "one"), progress=_ignore)
    second = distill(
        options, tiny.paths(tiny_model, data, tmp_path / "two", start=first), progress=_ignore
    )
    assert [read_adapter(folder).job for folder in chain(second)] == ["distill", "distill"]
    weights = load_file(first / "adapter_model.safetensors")
    inside = load_file(second / "parent" / "adapter_model.safetensors")
    assert weights
    assert all(torch.equal(weights[name], inside[name]) for name in weights)
    (second / "parent" / "adapter_model.safetensors").write_bytes(b"else")
    with pytest.raises(TrainingError, match="missing or differs from the manifest"):
        chain(second)


def test_a_folder_of_another_run_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(2))
    options = OPTIONS.model_copy(update={"max_steps": 1})
    paths = tiny.paths(tiny_model, data, tmp_path / "run")
    distill(options, paths, progress=_ignore)
    with pytest.raises(TrainingError, match="this run is finished"):
        distill(options, paths, progress=_ignore)
    other = options.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(TrainingError, match=r"holds another run \(its config differ"):
        distill(other, paths, progress=_ignore)


def test_an_adapter_for_another_base_is_refused(
    tiny_model: Path, model_folder: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(2))
    options = OPTIONS.model_copy(update={"max_steps": 1})
    first = distill(options, tiny.paths(tiny_model, data, tmp_path / "one"), progress=_ignore)
    other = tiny.make_model(tmp_path / "other", model_folder, seed=1)
    with pytest.raises(TrainingError, match="was trained on tiny-llama"):
        distill(options, tiny.paths(other, data, tmp_path / "two", start=first), progress=_ignore)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA GPU is here: four bits are possible")
def test_four_bits_without_a_gpu_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(2))
    options = OPTIONS.model_copy(update={"lora": LoraOptions(load_in_4bit=True)})
    with pytest.raises(TrainingError, match="needs a CUDA GPU, and there is none here"):
        distill(options, tiny.paths(tiny_model, data, tmp_path / "run"), progress=_ignore)


@pytest.mark.parametrize("scoring", [False, True])
def test_what_is_trained_is_float32_on_a_bfloat16_model(tiny_model: Path, scoring: bool) -> None:
    model = add_adapter(
        load_model(tiny_model, dtype=torch.bfloat16, scoring=scoring), tiny.LORA, scoring=scoring
    )
    trained = {name: one.dtype for name, one in model.named_parameters() if one.requires_grad}
    assert set(trained.values()) == {torch.float32}
    assert any("score" in name for name in trained) is scoring


def test_several_gpus_in_one_process_are_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trl.SFTConfig.n_gpu", 2, raising=False)
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(6))
    with pytest.raises(TrainingError, match="2 GPUs in one process cannot share packs"):
        distill(OPTIONS, tiny.paths(tiny_model, data, tmp_path / "run"), progress=_ignore)
