from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from training.cli import _parser
from training.errors import TrainingError
from training.jobs.distill import DistillOptions
from training.jobs.registry import JOBS
from training.runs.options import read_options

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
FILES = sorted(path for path in CONFIGS.glob("*.yaml") if path.stem != "fsdp")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_configuration_is_read_by_the_command_in_its_first_line(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    program, *words = first.removeprefix("# ").split()
    args = _parser().parse_args(words)
    assert program == "reclm-train"
    assert CONFIGS.parents[1] / args.config == path
    assert path.stem.split("-")[0] == args.job
    read_options(JOBS[args.job].load().options, path)


def test_each_job_has_one_for_a_cpu_and_one_for_more() -> None:
    for job in JOBS:
        assert len([path for path in FILES if path.stem.startswith(f"{job}-")]) >= 2
        assert CONFIGS / f"{job}-smollm2-cpu.yaml" in FILES


def test_accelerate_reads_the_configuration_for_several_gpus() -> None:
    found = load_config_from_file(str(CONFIGS / "fsdp.yaml"))
    assert found.distributed_type == "FSDP"
    assert yaml.safe_load((CONFIGS / "fsdp.yaml").read_text())["fsdp_config"]["fsdp_version"] == 2


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("learning_rat: 1", "learning_rat: Extra inputs"),
        ("lora: {r: 0}", "lora.r: Input should be greater than 0"),
        ("- 1", "should be a valid dictionary"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, written: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(written)
    with pytest.raises(TrainingError, match=message):
        read_options(DistillOptions, path)
    with pytest.raises(TrainingError, match="cannot read"):
        read_options(DistillOptions, tmp_path / "none.yaml")
