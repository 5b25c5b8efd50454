"""The contract of a job, over every entry of the registry.

What a run does that is killed and resumed is tested in `tests.training.runs.test_resuming`, and that
each job has configurations in `test_configs`.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.jobs.cases import CASES
from training.jobs.registry import JOBS
from training.runs.options import JobOptions, read_options

ROOT = Path(__file__).parents[3]


def test_each_job_has_a_tiny_run_for_the_other_tests() -> None:
    assert set(CASES) == set(JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_all_options_have_defaults_and_survive_the_record_of_a_run(job: str) -> None:
    kind = JOBS[job].load().options
    options = read_options(kind, None)
    assert isinstance(options, JobOptions)
    assert kind.model_validate(options.model_dump(mode="json")) == options


@pytest.mark.parametrize("job", JOBS)
def test_every_option_is_documented(job: str) -> None:
    kinds = inspect.getmro(JOBS[job].load().options)
    documented = " ".join(str(kind.__doc__) for kind in kinds)
    for name in JOBS[job].load().options.model_fields:
        assert f" {name}: " in documented, name


def test_the_registry_imports_no_library_that_commands_would_wait_for() -> None:
    script = (
        "import sys, training.cli; training.cli._parser();"
        "print(sorted({'torch', 'transformers', 'trl', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
