from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from tests.training import tiny
from training.adapters import chain, read_adapter
from training.errors import TrainingError
from training.grpo import GrpoOptions, grpo
from training.ppo import PpoOptions, ppo
from training.reward import RewardOptions, reward
from training.rewards import RewardWeights

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "lora": tiny.LORA, "checkpointing": False, "bf16": False, "log_every": 1, "save_every": 100,
}  # fmt: skip
RULES = RewardWeights(model=0.5, grammar=1, grounded=0, unlike=1, length=2)


@pytest.fixture(scope="module")
def judge(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    data = tiny.write_rows(folder / "pairs.jsonl", tiny.preference_rows(24))
    told: list[str] = []
    options = RewardOptions(**SMALL, learning_rate=2e-2, batch_size=8, epochs=4)
    adapter = reward(
        options, tiny.places(tiny_model, data, folder / "run", evaluation=data), tell=told.append
    )
    assert told[-1].startswith("accuracy ")
    return adapter


def test_the_reward_model_tells_better_from_worse_by_kind(judge: Path) -> None:
    metrics = read_adapter(judge).metrics
    assert set(metrics) == {
        "accuracy", "accuracy_neighbour", "accuracy_full_stop", "accuracy_empty_template",
        "accuracy_identity_only",
    }  # fmt: skip
    assert metrics["accuracy"] > 0.7
    assert metrics["accuracy_full_stop"] == 1


def _rewards(out: Path) -> list[str]:
    with (out / "log.csv").open() as file:
        return [name for name in csv.DictReader(file).fieldnames or () if "rewards/" in name]


def test_grpo_logs_each_reward_that_counts(tiny_model: Path, judge: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    options = GrpoOptions(
        **SMALL, rewards=RULES, batch_size=4, answers=2, answer_tokens=8, max_steps=2
    )
    places = tiny.places(tiny_model, data, tmp_path / "run")
    adapter = grpo(options, places, judge=judge, tell=print)
    names = {name.split("/")[1] for name in _rewards(tmp_path / "run")}
    assert names == {"model", "grammar", "unlike", "length"}
    manifest = read_adapter(adapter)
    assert manifest.job == "grpo"
    assert "kl" in manifest.metrics
    assert manifest.metrics["rewards/length/mean"] > 0


def test_ppo_logs_each_reward_that_counts(tiny_model: Path, judge: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    options = PpoOptions(
        **SMALL, rewards=RULES, batch_size=2, answer_tokens=8, max_steps=2, updates=1
    )
    places = tiny.places(tiny_model, data, tmp_path / "run")
    adapter = ppo(options, places, judge=judge, tell=print)
    names = {name.split("/")[1] for name in _rewards(tmp_path / "run")}
    assert names == {"model", "grammar", "unlike", "length"}
    assert read_adapter(adapter).job == "ppo"
    assert chain(adapter) == [adapter]


def test_a_policy_without_a_reward_model_needs_rules(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    places = tiny.places(tiny_model, data, tmp_path / "run")
    with pytest.raises(TrainingError, match="give --reward ADAPTER"):
        grpo(GrpoOptions(**SMALL), places, judge=None, tell=print)
    nothing = RewardWeights(model=0, grammar=0, grounded=0, unlike=0, length=0)
    other = tiny.places(tiny_model, data, tmp_path / "other")
    with pytest.raises(TrainingError, match="nothing to learn from"):
        grpo(GrpoOptions(**SMALL, rewards=nothing), other, judge=None, tell=print)


def test_only_a_reward_model_judges(tiny_model: Path, judge: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.policy_rows(4))
    options = GrpoOptions(
        **SMALL, rewards=RewardWeights(model=0), batch_size=2, answers=2, answer_tokens=4,
        max_steps=1,
    )  # fmt: skip
    policy = grpo(options, tiny.places(tiny_model, data, tmp_path / "one"), judge=None, tell=print)
    with pytest.raises(TrainingError, match="is no reward model"):
        ppo(
            PpoOptions(**SMALL, batch_size=2),
            tiny.places(tiny_model, data, tmp_path / "two"),
            judge=policy,
            tell=print,
        )
