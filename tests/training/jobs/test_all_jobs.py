"""Every command, one after the other, from shipped profiles to a published adapter and a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from recommenders.data.readers.movielens import fetch_ml_100k
from services.stack.adapters import find_adapter
from training.cli import main

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.slow

CONFIG = """
lora: {r: 4, lora_alpha: 8}
learning_rate: 1.0e-2
max_steps: 2
per_device_train_batch_size: 2
activation_checkpointing: false
logging_steps: 1
"""


def test_the_jobs_follow_on_each_other(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECLM_HOME", str(tmp_path / "home"))
    config = tmp_path / "job.yaml"
    config.write_text(CONFIG)
    policy = tmp_path / "policy.yaml"
    policy.write_text(CONFIG + "response_length: 8\n")
    group = tmp_path / "group.yaml"
    group.write_text(CONFIG + "max_completion_length: 8\nnum_generations: 2\n")
    dataset, teacher = tmp_path / "ml-100k", tmp_path / "seed"
    fetch_ml_100k().write(dataset)

    def build(name: str, *more: str) -> Path:
        out = tmp_path / name
        common = ["--dataset", str(dataset), "--model", str(tiny_model), "--max-items", "5"]
        kind = ["teacher", "seed"] if name == "seed" else [name, "--profiles", str(teacher)]
        assert main(["data", *kind, *common, "--out", str(out), *more]) == 0
        assert f"in {out}/" in capsys.readouterr().out
        return out

    build("seed")
    choices = ("--min-weight", "4", "--split", "leave-last-out")
    samples = build("collaborative", "--similar", "2", *choices) / "samples.jsonl"
    pairs = build("preferences", *choices)
    data = {
        "distill": teacher / "train.jsonl",
        "collaborate": samples,
        "reward": pairs / "reward-train.jsonl",
        "policy": pairs / "rl.jsonl",
    }
    held_out = _some(teacher / "held-out.jsonl", 4)
    unseen = _some(pairs / "reward-eval.jsonl", 8)
    runs = {job: tmp_path / job for job in ("distill", "collaborate", "reward", "ppo", "grpo")}

    def train(job: str, rows: str, options: Path, *more: str) -> str:
        adapter = runs[job] / "adapter"
        command = [job, "--model", str(tiny_model), "--data", str(data[rows])]
        command += ["--out", str(runs[job])]
        assert main([*command, "--config", str(options), *more]) == 0
        assert capsys.readouterr().out == f"adapter in {adapter}\n"
        return str(adapter)

    distilled = train("distill", "distill", config)
    tuned = train("collaborate", "collaborate", config, "--start", distilled)
    reward_model = train("reward", "reward", config, "--start", tuned, "--evaluation", unseen)
    train("ppo", "policy", policy, "--start", tuned, "--reward", reward_model)
    last = train("grpo", "policy", group, "--start", tuned, "--reward", reward_model)

    command = ["publish", last, "--name", "tiny-1", "--merged", "--model", str(tiny_model)]
    assert main([*command, "--prompts", held_out]) == 0
    home = tmp_path / "home"
    agreement = json.loads((home / "models/tiny-1/manifest.json").read_text())["agreement"]
    assert agreement["largest"] < 1e-4
    assert agreement["same_answers"] == agreement["prompts"] == 4
    manifest = json.loads((home / "adapters/tiny-1/manifest.json").read_text())
    assert (manifest["name"], manifest["job"]) == ("tiny-1", "grpo")
    merged = find_adapter(home, "tiny-1").merged
    assert merged == home / "models/tiny-1"
    before = (merged / "model.safetensors").stat()
    assert main(command) == 0  # what is there is not made again
    other = ["publish", tuned, *command[2:]]
    assert main(other) == 1
    assert "the name tiny-1 was used before" in capsys.readouterr().err
    assert main([*other, "--name", "../tiny-2"]) == 1
    assert (merged / "model.safetensors").stat() == before
    assert not (home / "tiny-2").exists()
    assert main(["publish", last, "--name", "reclm-1", "--model", str(tiny_model)]) == 1
    assert "come with RecLM" in capsys.readouterr().err

    models = [f"base={tiny_model}", f"trained={home / 'models/tiny-1'}"]
    command = ["compare", *models, "--prompts", held_out, "--limit", "3", "--tokens", "8"]
    assert main([*command, "--out", str(tmp_path / "compared")]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(" | ")[0].strip("| ") for line in lines[2:6]]
    assert names == ["base", "trained", "teacher", "categories"]
    document = json.loads((tmp_path / "compared/compare.json").read_text())
    assert len(document["profiles"]) == 3

    # Cached answers and answers from a file are the same as before.
    kept = sorted((tmp_path / "compared/answers").iterdir())
    assert len(kept) == 2
    times = [file.stat().st_mtime_ns for file in kept]
    read = tmp_path / "trained.jsonl"
    rows = [{"id": row["id"], "text": row["trained"]} for row in document["profiles"]]
    read.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command.insert(3, f"read={read}")
    assert main([*command, "--out", str(tmp_path / "compared")]) == 0
    again = json.loads((tmp_path / "compared/compare.json").read_text())
    assert [row["read"] for row in again["profiles"]] == [row["text"] for row in rows]
    assert again["models"]["trained"] == document["models"]["trained"]
    assert [file.stat().st_mtime_ns for file in kept] == times


def test_errors_are_told_in_a_line(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "1"}\n')
    command = ["distill", "--model", str(tiny_model), "--data", str(rows), "--out", str(tmp_path)]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "rows.jsonl, line 1: " in told
    assert told.count("\n") == 1
    command[2] = "no-such-model"
    assert main(command) == 1
    assert "no model no-such-model" in capsys.readouterr().err


def _some(path: Path, count: int) -> str:
    """Returns a file with the first rows of another, so that the test is quick."""
    out = path.with_name(f"some-{path.name}")
    out.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))
    return str(out)
