"""Runs the stack of docker-compose.yml as a separate project with its own port and secrets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Collection

ROOT = Path(__file__).parents[2]
BASE = "docker-compose.yml"
OVERLAYS = ("deploy/compose.gpu.yml", "deploy/compose.observability.yml", "deploy/compose.tls.yml")
LABEL = "com.docker.compose.project"


def composes() -> list[list[str]]:
    """Returns the installed commands of Compose: version 1, version 2, both or none."""
    found = []
    if standalone := shutil.which("docker-compose"):
        found.append([standalone])
    docker = shutil.which("docker")
    if docker and _run([docker, "compose", "version"]).returncode == 0:
        found.append([docker, "compose"])
    return found


def why_not() -> str | None:
    """Returns why Docker cannot start containers here; None if it can."""
    docker = shutil.which("docker")
    if docker is None:
        return "there is no docker on the PATH"
    if not composes():
        return "there is neither docker-compose nor `docker compose`"
    answer = _run([docker, "version", "--format", "{{.Server.Version}}"])
    if answer.returncode != 0:
        return (
            f"no Docker engine answers: {(answer.stderr.strip() or answer.stdout.strip())[-200:]}"
        )
    return None


def make_secrets(folder: Path) -> dict[str, str]:
    """Makes passwords and keys as in the quick start; returns them by file."""
    subprocess.run([ROOT / "deploy" / "secrets.sh", folder], check=True, capture_output=True)
    return {file.name: file.read_text().strip() for file in folder.iterdir()}


def docker(*arguments: str, check: bool = True) -> str:
    """Runs docker and returns its output."""
    done = _run(["docker", *arguments])
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Compose:
    """A Compose project beside others on the same engine.

    Args:
        folder: For secrets.
    """

    def __init__(self, folder: Path) -> None:
        self.project = f"reclm-test-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.secrets_folder = folder / "secrets"
        self.secrets = make_secrets(self.secrets_folder)
        self._command = [*composes()[0], "-p", self.project, "-f", str(ROOT / BASE)]
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RECLM_")},
            "RECLM_SECRETS": str(self.secrets_folder),
            "RECLM_PORT": str(self.port),
            "RECLM_REDIS_MEMORY": "64mb",
            "RECLM_REDIS_MEMORY_LIMIT": "256m",
            "RECLM_KV_CACHE_GIB": "1",
        }

    @property
    def key(self) -> str:
        return self.secrets["api_keys"]

    @property
    def admin_key(self) -> str:
        return self.secrets["admin_keys"].split()[0]

    def run(self, *arguments: str, timeout_s: float = 600, ends: Collection[int] = (0,)) -> str:
        """Runs a command of Compose and returns its output; fails unless it ends with status `ends`."""
        command = [*self._command, *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=self._env,
            cwd=ROOT,
            timeout=timeout_s,
        )
        assert done.returncode in ends, (
            f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout[-4000:]}{done.stderr[-4000:]}\n{self.logs()}"
        )
        return done.stdout

    def job(self, service: str, *arguments: str, mount: Path, ends: Collection[int] = (0,)) -> str:
        """Runs a job to its end, with a folder of the host mounted at /input."""
        options = ["--rm", "-T", "-v", f"{mount}:/input:ro"]
        return self.run("run", *options, service, *arguments, ends=ends)

    def crash(self, service: str) -> None:
        """Kills a container's process from inside, like a crash."""
        kill = "kill -9 $(cat /proc/1/task/1/children)"
        # The shell may be killed too, before it can return its status.
        self.run("exec", "-T", service, "sh", "-c", kill, ends={0, 137})

    def containers(self) -> list[dict[str, Any]]:
        """Returns the engine's records of the project's containers, including stopped ones."""
        ids = docker("ps", "-aq", "--filter", f"label={LABEL}={self.project}").split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return found

    def container(self, service: str) -> dict[str, Any]:
        return next(
            one
            for one in self.containers()
            if one["Config"]["Labels"]["com.docker.compose.service"] == service
        )

    def networks(self) -> list[str]:
        return docker("network", "ls", "-q", "--filter", f"label={LABEL}={self.project}").split()

    def volumes(self) -> list[str]:
        return docker("volume", "ls", "-q", "--filter", f"label={LABEL}={self.project}").split()

    def logs(self) -> str:
        """Returns the last log lines of all containers, for the message of a failure."""
        lines = []
        for one in self.containers():
            tail = _run(["docker", "logs", "--tail", "15", one["Id"]])
            lines.append(
                f"--- {one['Name']} ({one['State']['Status']})\n{tail.stdout}{tail.stderr}"
            )
        return "\n".join(lines)

    def remove(self) -> None:
        """Removes all containers, networks and volumes."""
        command = [*self._command, "down", "--volumes", "--timeout", "5"]
        subprocess.run(command, check=True, capture_output=True, env=self._env, cwd=ROOT)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
