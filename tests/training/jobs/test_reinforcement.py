from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from pydantic import ValidationError

from tests.training import tiny
from training.adapters.manifest import chain, read_adapter
from training.errors import TrainingError
from training.jobs.grpo import GrpoOptions, grpo
from training.jobs.ppo import PpoOptions, _arguments, _value_model, ppo
from training.jobs.reward import RewardOptions, reward
from training.modeling.lora import load_tokenizer
from training.rewards.registry import RewardWeights
from training.runs.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "lora": tiny.LORA, "activation_checkpointing": False, "bf16": False, "logging_steps": 1, "save_steps": 100,
}  # fmt: skip
RULES = RewardWeights(model=0.5, grammar=1, grounded=0, unlike=1, length=2)


@pytest.fixture(scope="module")
def reward_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    data = tiny.write_rows(folder / "pairs.jsonl", tiny.preference_rows(24))
    told: list[str] = []
    options = RewardOptions(
        **SMALL, learning_rate=2e-2, per_device_train_batch_size=8, num_train_epochs=4
    )
    adapter = reward(
        options, tiny.paths(tiny_model, data, folder / "run", evaluation=data), progress=told.append
    )
    assert told[-1].startswith("accuracy ")
    return adapter


def test_the_reward_model_tells_better_from_worse_by_kind(reward_model: Path) -> None:
    metrics = read_adapter(reward_model).metrics
    assert set(metrics) == {
        "accuracy", "accuracy_neighbour", "accuracy_full_stop", "accuracy_empty_template",
        "accuracy_identity_only",
    }  # fmt: skip
    assert metrics["accuracy"] > 0.7
    assert metrics["accuracy_full_stop"] == 1


def _rewards(out: Path) -> list[str]:
    with (out / "log.csv").open() as file:
        return [name for name in csv.DictReader(file).fieldnames or () if "rewards/" in name]


def test_grpo_logs_each_reward_that_counts(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    options = GrpoOptions(
        **SMALL,
        rewards=RULES,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=8,
        max_steps=2,
    )
    paths = tiny.paths(tiny_model, data, tmp_path / "run", reward_model=reward_model)
    adapter = grpo(options, paths, progress=print)
    names = {name.split("/")[1] for name in _rewards(tmp_path / "run")}
    assert names == {"model", "grammar", "unlike", "length"}
    manifest = read_adapter(adapter)
    assert manifest.job == "grpo"
    assert "kl" in manifest.metrics
    assert manifest.metrics["rewards/length/mean"] > 0


def test_ppo_logs_each_reward_that_counts(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    options = PpoOptions(
        **SMALL,
        rewards=RULES,
        per_device_train_batch_size=2,
        response_length=8,
        max_steps=2,
        num_ppo_epochs=2,
    )
    paths = tiny.paths(tiny_model, data, tmp_path / "run", reward_model=reward_model)
    adapter = ppo(options, paths, progress=print)
    names = {name.split("/")[1] for name in _rewards(tmp_path / "run")}
    assert names == {"model", "grammar", "unlike", "length"}
    assert read_adapter(adapter).job == "ppo"
    assert chain(adapter) == [adapter]


def test_the_value_model_trains_its_head_in_float32_and_puts_no_adapter_on_it(
    tiny_model: Path, reward_model: Path
) -> None:
    value = _value_model(tiny_model, reward_model, PpoOptions(lora=tiny.LORA), torch.bfloat16)
    trained = {name: one.dtype for name, one in value.named_parameters() if one.requires_grad}
    assert set(trained.values()) == {torch.float32}
    assert [name for name in trained if "score" in name] == ["score.weight"]
    one = value.score(torch.full((1, 32), 1 / 3, dtype=torch.bfloat16))
    assert one.dtype == torch.float32


def test_a_run_is_resumed_with_the_same_reward_model_only(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    paths = tiny.paths(tiny_model, data, tmp_path / "run", reward_model=reward_model)
    open_run("grpo", GrpoOptions(), paths, rows=4).begin()
    open_run("grpo", GrpoOptions(), paths, rows=4)
    with pytest.raises(TrainingError, match="its reward differ"):
        open_run("grpo", GrpoOptions(), replace(paths, reward_model=None), rows=4)


def test_what_cannot_be_trained_with_leaves_no_run_behind(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(6))
    paths = tiny.paths(tiny_model, data, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"batch of 4 .* all 3 completions"):
        grpo(
            GrpoOptions(**SMALL, per_device_train_batch_size=4, num_generations=3),
            replace(paths, reward_model=reward_model),
            progress=print,
        )
    with pytest.raises(TrainingError, match="give --reward ADAPTER"):
        grpo(GrpoOptions(**SMALL), paths, progress=print)
    with pytest.raises(TrainingError, match="PPO needs a reward model"):
        ppo(PpoOptions(**SMALL), paths, progress=print)
    assert not paths.out.exists()
    with pytest.raises(ValidationError, match="num_mini_batches, 3, must divide a batch of 4"):
        PpoOptions(per_device_train_batch_size=2, gradient_accumulation_steps=2, num_mini_batches=3)


@pytest.mark.parametrize(("more", "batches"), [({"max_steps": 3}, 6), ({"num_train_epochs": 2}, 5)])
def test_ppo_counts_steps_of_all_processes_together(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, int], batches: int
) -> None:
    """TRL divides this number by the processes and by their batches to get the number of steps."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = PpoOptions(per_device_train_batch_size=2, **more)
    assert _arguments(options, load_tokenizer(tiny_model), 5)["total_episodes"] == 2 * batches


def test_a_policy_without_a_reward_model_needs_rules(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    paths = tiny.paths(tiny_model, data, tmp_path / "run")
    with pytest.raises(TrainingError, match="give --reward ADAPTER"):
        grpo(GrpoOptions(**SMALL), paths, progress=print)
    nothing = RewardWeights(model=0, grammar=0, grounded=0, unlike=0, length=0)
    other = tiny.paths(tiny_model, data, tmp_path / "other")
    with pytest.raises(TrainingError, match="nothing to train on"):
        grpo(GrpoOptions(**SMALL, rewards=nothing), other, progress=print)


def test_only_a_reward_model_scores(tiny_model: Path, reward_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    options = GrpoOptions(
        **SMALL, rewards=RewardWeights(model=0), per_device_train_batch_size=2, num_generations=2, max_completion_length=4,
        max_steps=1,
    )  # fmt: skip
    policy = grpo(options, tiny.paths(tiny_model, data, tmp_path / "one"), progress=print)
    with pytest.raises(TrainingError, match="is not a reward model"):
        ppo(
            PpoOptions(**SMALL, per_device_train_batch_size=2),
            tiny.paths(tiny_model, data, tmp_path / "two", reward_model=policy),
            progress=print,
        )
