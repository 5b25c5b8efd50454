"""A tiny run of each job, for the contract that every entry of the registry has to keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.training import tiny
from training.jobs.registry import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Rows = list[dict[str, object]]

COMMON = {
    "lora": tiny.LORA, "learning_rate": 1e-2, "max_steps": 4, "activation_checkpointing": False,
    "bf16": False, "save_steps": 2, "logging_steps": 1,
}  # fmt: skip
_RULES = {"model": 1.0, "grammar": 0, "grounded": 0, "unlike": 0, "length": 1.0}


@dataclass(frozen=True, kw_only=True)
class Case:
    """The rows of a tiny run, its options, and what it logs at every step."""

    rows: Callable[[int], Rows]
    count: int
    options: Mapping[str, Any] = field(default_factory=dict)
    logs: str = "loss"


CASES: Mapping[str, Case] = {
    "distill": Case(
        rows=tiny.distill_rows,
        count=6,
        options={"per_device_train_batch_size": 1, "max_length": 512},
    ),
    "collaborate": Case(
        rows=tiny.dialogue_rows,
        count=6,
        options={"per_device_train_batch_size": 1, "max_length": 512},
    ),
    "reward": Case(
        rows=tiny.preference_rows, count=4, options={"per_device_train_batch_size": 1}
    ),
    "ppo": Case(
        rows=tiny.policy_rows,
        count=5,
        options={
            "per_device_train_batch_size": 2, "rewards": _RULES, "num_ppo_epochs": 1,
            "response_length": 4,
        },
        logs="objective/scores",
    ),
    "grpo": Case(
        rows=tiny.policy_rows,
        count=5,
        options={
            "per_device_train_batch_size": 2, "rewards": _RULES, "num_generations": 2,
            "max_completion_length": 4,
        },
    ),
}  # fmt: skip


def run(job: str, model: Path, folder: Path, out: Path, **more: Any) -> Path:
    """Runs a job on its tiny rows, whose file is made in `folder`; returns the adapter's folder.

    A job that reads a reward model finds it in `folder / "reward-model" / "adapter"`.
    """
    case, entry = CASES[job], JOBS[job]
    data = folder / f"{job}.jsonl"
    if not data.is_file():
        tiny.write_rows(data, case.rows(case.count))
    loaded = entry.load()
    options = loaded.options(**{**COMMON, **case.options, **more})
    paths = tiny.paths(
        model,
        data,
        out,
        evaluation=None if entry.evaluation == "none" else data,
        reward_model=None if entry.reward_model == "none" else folder / "reward-model/adapter",
    )
    return loaded.train(options, paths, progress=print)
