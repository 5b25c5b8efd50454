"""The options have the names of the pinned libraries, and an old name is refused with the new one."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from peft import LoraConfig
from pydantic import ValidationError
from transformers import BitsAndBytesConfig
from trl import GRPOConfig, RewardConfig, SFTConfig
from trl.experimental.ppo import PPOConfig

from tests.training import tiny
from training.errors import TrainingError
from training.jobs.distill import DistillOptions
from training.jobs.registry import JOBS
from training.runs.options import RENAMED, LoraOptions, Options, read_options
from training.runs.run import arguments, open_run

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = {
    "distill": SFTConfig, "collaborate": SFTConfig, "reward": RewardConfig, "grpo": GRPOConfig,
    "ppo": PPOConfig,
}  # fmt: skip
OWN = {"lora", "rewards", "mutual_information"}
"""Options of RecLM's own, which no trainer has."""


def _kinds() -> dict[str, type[Options]]:
    return {name: job.load().options for name, job in JOBS.items()} | {"lora": LoraOptions}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_refused_with_the_new_one(old: str, tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(f"{old}: 1\n")
    having = {
        new: [kind for kind in _kinds().values() if new in kind.model_fields]
        for new in RENAMED[old]
    }
    assert all(having.values()), "a new name that no job has"
    for new, kinds in having.items():
        for kind in kinds:
            with pytest.raises(TrainingError, match=rf"old\.yaml: {old} is now called {new}$"):
                read_options(kind, path)


def test_an_old_name_within_lora_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("lora: {rank: 4, alpha: 8}\n")
    message = "lora: rank is now called r; alpha is now called lora_alpha"
    with pytest.raises(TrainingError, match=message):
        read_options(DistillOptions, path)
    with pytest.raises(ValidationError, match="batch_size is now called per_device_train_batch"):
        DistillOptions(batch_size=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("job", JOBS)
def test_options_have_the_names_of_the_trainer(job: str) -> None:
    trainer = {field.name for field in fields(CONFIGS[job])}
    assert set(JOBS[job].load().options.model_fields) - OWN <= trainer


def test_adapter_options_have_peft_s_names() -> None:
    known = {field.name for field in fields(LoraConfig)} | set(vars(BitsAndBytesConfig(True)))  # type: ignore[no-untyped-call]
    assert {name.removeprefix("_") for name in known} >= set(LoraOptions.model_fields)


def test_options_are_handed_on_but_for_those_that_reclm_carries_out(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(2))
    options = DistillOptions(
        weight_decay=0.25, warmup_steps=7, gradient_accumulation_steps=3, max_length=99,
        torch_compile=True, packing=True,
    )  # fmt: skip
    run = open_run("distill", options, tiny.paths(tiny_model, data, tmp_path / "run"), rows=2)
    args = arguments(SFTConfig, run)
    assert (args.weight_decay, args.warmup_steps, args.max_length) == (0.25, 7, 99)
    assert (args.gradient_accumulation_steps, args.max_steps, args.data_seed) == (3, -1, 0)
    assert args.activation_checkpointing is args.gradient_checkpointing is True
    assert args.torch_compile is args.packing is False


@pytest.mark.parametrize(
    ("packing", "gpu", "packs"),
    [
        ("auto", False, True),
        ("auto", True, False),
        (True, True, True),
        (False, False, False),
    ],
)
def test_rows_are_packed_on_a_cpu_unless_said_otherwise(
    packing: bool | str, gpu: bool, packs: bool
) -> None:
    assert DistillOptions.model_validate({"packing": packing}).resolved(gpu=gpu).packing is packs
    assert DistillOptions().packing == "auto"


def test_a_run_of_an_older_version_is_refused_and_says_so(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.distill_rows(2))
    paths = tiny.paths(tiny_model, data, tmp_path / "run")
    open_run("distill", DistillOptions(), paths, rows=2).begin()
    record = tmp_path / "run" / "run.json"
    document = json.loads(record.read_text())
    document["config"]["accumulation"] = document["config"].pop("gradient_accumulation_steps")
    document["config"]["lora"]["rank"] = document["config"]["lora"].pop("r")
    record.write_text(json.dumps(document))
    message = r"an older RecLM, whose options had other names \(accumulation, rank\): finish it"
    with pytest.raises(TrainingError, match=message):
        open_run("distill", DistillOptions(), paths, rows=2)
