"""What a container may take and touch, who may command vLLM, and images by digest. Starts no container."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose import BASE, OVERLAYS, ROOT

FILES = [BASE, *OVERLAYS]
MODELS = "/var/lib/reclm/models"
WRITES_MODELS = {"fetch", "publish"}
"""The one that gets them, and the one that writes merged ones."""


def services(file: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text())["services"]
    return found


ALL = [
    pytest.param(service, id=f"{Path(file).stem}-{name}")
    for file in FILES
    for name, service in services(file).items()
    # An overlay may change a service of the base, which has the rest.
    if file == BASE or name not in services(BASE)
]


@pytest.mark.parametrize("service", ALL)
def test_every_container_is_limited(service: dict[str, Any]) -> None:
    assert service["pids_limit"] <= 4096
    limit = re.sub(r"\$\{[A-Z_]+:-(.*)\}", r"\1", service["mem_limit"])
    assert re.fullmatch(r"\d+g", limit)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_only_those_that_make_models_may_write_them() -> None:
    writers = {
        name
        for name, service in services(BASE).items()
        for volume in service.get("volumes", ())
        if volume == f"models:{MODELS}"
    }
    readers = {
        name
        for name, service in services(BASE).items()
        if f"models:{MODELS}:ro" in service.get("volumes", ())
    }
    assert writers == WRITES_MODELS
    assert readers == {"vllm", "service", "recommend", "train"}


def test_only_those_that_ask_vllm_have_its_key() -> None:
    holders = {
        name for name, service in services(BASE).items() if "vllm_key" in service.get("secrets", ())
    }
    assert holders == {"vllm", "service", "publish"}
    for name in holders:
        environment = services(BASE)[name]["environment"]
        assert environment["RECLM_VLLM_API_KEY_FILE"] == "/run/secrets/vllm_key"
    updating = {
        name
        for file in FILES
        for name, service in services(file).items()
        if "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in service.get("environment", {})
    }
    assert updating == {"vllm"}
    for file in ("deploy/vllm/Dockerfile", "deploy/vllm/cuda.Dockerfile"):
        assert 'ENTRYPOINT ["sh", "/usr/local/bin/reclm-vllm"]' in (ROOT / file).read_text()


def started(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs start.sh with a python3 that prints its arguments and vLLM's key."""
    python = folder / "bin" / "python3"
    python.parent.mkdir(exist_ok=True)
    python.write_text('#!/bin/sh\necho "$@" with key "${VLLM_API_KEY-none}"\n')
    python.chmod(0o755)
    return subprocess.run(
        ["sh", ROOT / "deploy" / "vllm" / "start.sh", *arguments],
        env={"PATH": f"{python.parent}:/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_vllm_starts_with_the_key_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    done = started(
        tmp_path,
        *("--model", "a b"),
        RECLM_VLLM_API_KEY_FILE=str(tmp_path / "key"),
        VLLM_ALLOW_RUNTIME_LORA_UPDATING="True",
    )
    entry = "-m vllm.entrypoints.launchers.api_server.entry"
    assert done.stdout == f"{entry} --model a b with key secret\n"
    assert started(tmp_path).stdout == f"{entry} with key none\n"


def test_vllm_without_a_key_takes_no_adapters_and_a_missing_key_ends_it(tmp_path: Path) -> None:
    done = started(tmp_path, VLLM_ALLOW_RUNTIME_LORA_UPDATING="True")
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a key: set RECLM_VLLM_API_KEY_FILE" in done.stderr
    done = started(tmp_path, RECLM_VLLM_API_KEY_FILE=str(tmp_path / "none"))
    assert done.returncode != 0
    assert done.stdout == ""


def test_every_image_can_be_given_with_its_digest() -> None:
    explained = dict(
        re.findall(
            r"^#(RECLM_[A-Z]+_IMAGE)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE
        )
    )
    used: dict[str, str] = {}
    for file in FILES:
        text = (ROOT / file).read_text()
        used |= dict(re.findall(r"\$\{(RECLM_[A-Z]+_IMAGE):-([^}]+)\}", text))
        for image in re.findall(r"^ *image: (.*)$", text, re.MULTILINE):
            assert image.startswith(("reclm-", "${RECLM_")), image
    assert used == explained
    for file in (ROOT / "deploy").rglob("*Dockerfile"):
        text = file.read_text()
        made = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
        for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
            assert base in made or base in {"${PYTHON_IMAGE}", "${VLLM_IMAGE}"}, base
        for name, image in re.findall(r"^ARG (\w+)_IMAGE=(.*)$", text, re.MULTILINE):
            assert explained[f"RECLM_{name}_IMAGE"] == image


def pinned(folder: Path, docker: str) -> subprocess.CompletedProcess[str]:
    program = folder / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{docker}\n")
    program.chmod(0o755)
    return subprocess.run(
        [ROOT / "deploy" / "pin-images.sh", folder / ".env"],
        env={"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_digests_are_written_beside_what_else_is_set(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("RECLM_PORT=1\nRECLM_REDIS_IMAGE=redis:6\n")
    digest = f"sha256:{'a' * 64}"
    done = pinned(tmp_path, f'[ "$1" = pull ] || echo "$5@{digest}"')
    assert done.returncode == 0, done.stderr
    lines = env.read_text().splitlines()
    assert lines[0] == "RECLM_PORT=1"
    assert f"RECLM_REDIS_IMAGE=redis:7-bookworm@{digest}" in lines
    assert len(lines) == 7
    assert all(re.search(r"=[^@]+@sha256:a{64}$", line) for line in lines[1:])
    assert pinned(tmp_path, f'[ "$1" = pull ] || echo "$5@{digest}"').returncode == 0
    assert env.read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("docker", "said"), [("exit 3", ""), ("true", "error: python:3.11-slim-bookworm has no digest")]
)
def test_without_a_registry_nothing_is_changed(tmp_path: Path, docker: str, said: str) -> None:
    env = tmp_path / ".env"
    env.write_text("RECLM_REDIS_IMAGE=redis:6\n")
    done = pinned(tmp_path, docker)
    assert done.returncode != 0
    assert said in done.stderr
    assert env.read_text() == "RECLM_REDIS_IMAGE=redis:6\n"
    assert not (tmp_path / ".env.new").exists()
