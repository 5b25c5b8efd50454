"""Consistency of deploy/: variables, metrics, Dockerfiles, overlays. Starts no container."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics
from tests.support import compose
from tests.support.compose import BASE, OVERLAYS, ROOT, make_secrets

FILES = [BASE, *OVERLAYS]
DOCKERFILES = ["deploy/Dockerfile", "deploy/vllm/Dockerfile", "deploy/vllm/cuda.Dockerfile"]
GIVEN = r"\$\{([A-Z_]+)"
"""A variable in a value; a variable without a value is passed through."""


def services(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())["services"]
    return found


def variables(file: str) -> set[str]:
    passed = {
        name
        for service in services(file).values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    text = re.sub(r"\$\$\{.*?\}", "", (ROOT / file).read_text())
    return passed | set(re.findall(GIVEN, text))


def test_the_example_explains_every_variable_and_no_others():
    explained = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert explained == set().union(*map(variables, FILES))


def test_the_example_has_the_defaults():
    shown = dict(
        re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    text = "".join((ROOT / file).read_text() for file in reversed(FILES))
    for name, default in dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text)).items():
        assert shown[name] == default, name


def test_fetching_data_needs_only_what_the_image_has():
    """The image has neither scipy nor torch, and `make demo` does not install them."""
    heavy = ("scipy", "torch", "matplotlib", "yaml", "pandas")
    code = f"import sys\nfor name in {heavy}: sys.modules[name] = None\n"
    code += "import recommenders.data.readers.movielens\n"
    code += "from recommenders.cli import main\nmain(['data', 'get', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_service_is_given_settings_that_it_has():
    environment = services(BASE)["service"]["environment"]
    names = {name.removesuffix("_FILE").removeprefix("RECLM_").lower() for name in environment}
    assert names <= set(Settings.model_fields)


@pytest.mark.parametrize("file", [BASE, *OVERLAYS])
def test_every_container_has_a_limit_of_memory(file: str):
    """One that grows takes its host's memory, and the kernel ends whichever process it likes."""
    base = services(BASE)
    for name, service in services(file).items():
        assert "mem_limit" in service or "mem_limit" in base.get(name, {}), name


def test_requests_under_way_have_less_time_than_the_container():
    service = services(BASE)["service"]
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert int(service["environment"]["RECLM_DRAIN_S"]) < grace <= 30


@pytest.mark.parametrize("file", OVERLAYS)
@pytest.mark.parametrize("version", [0, 1])
def test_compose_takes_the_overlays(file: str, version: int, tmp_path: Path):
    found = compose.composes()
    if len(found) <= version:
        pytest.skip(f"{len(found)} of docker-compose and `docker compose` are installed here")
    make_secrets(tmp_path)
    command = [*found[version], "-f", BASE, "-f", file, "config", "--quiet"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "RECLM_SECRETS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", DOCKERFILES)
def test_hadolint_finds_nothing(file: str):
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("hadolint is not installed: its package has Linux x86-64 alone")
    done = subprocess.run([hadolint, ROOT / file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path):
    folder = tmp_path / "secrets"
    first = make_secrets(folder)
    assert set(first) == {
        *("redis_password", "api_keys", "admin_keys", "metrics_key", "grafana_password", "vllm_key")
    }
    assert all(len(key) == 64 for secret in first.values() for key in secret.split())
    assert first["metrics_key"] in first["admin_keys"].split()
    assert len({key for secret in first.values() for key in secret.split()}) == 6
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "api_keys").unlink()
    second = make_secrets(folder)
    assert second == {**first, "api_keys": second["api_keys"]}
    assert second["api_keys"] != first["api_keys"]


def test_the_dashboard_shows_every_metric_and_none_that_is_not_there():
    board = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "reclm.json").read_text())
    shown = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\breclm_[a-z_]+", target["expr"])
    }
    suffixes = {Counter: ("_total",), Histogram: ("_bucket", "_count", "_sum"), Gauge: ("",)}
    samples = {
        f"{family.name}{suffix}": family.name
        for metric in vars(Metrics()).values()
        for suffix in suffixes.get(type(metric), ())
        for family in metric.describe()
    }
    assert shown <= set(samples)
    assert {samples[name] for name in shown} == set(samples.values())


def test_panels_do_not_overlap():
    board = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "reclm.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
