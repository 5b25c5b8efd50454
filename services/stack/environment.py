"""Virtual environments for vLLM, made from a pinned list, complete or not at all."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from services.stack.errors import StackError

Flavour = Literal["cpu", "cuda"]

_LISTS = Path(__file__).parents[2] / "deploy" / "vllm"
_MARK = "complete"


def flavour() -> Flavour | None:
    """Returns which vLLM can run on this machine; None for none."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    return "cuda" if _has_nvidia() else "cpu"


def python_of(home: Path, kind: Flavour) -> Path | None:
    """Returns the environment's interpreter if it is complete and of the present list."""
    folder = _folder(home, kind)
    mark = folder / _MARK
    if not mark.is_file() or mark.read_text() != _digest(kind):
        return None
    return folder / "bin" / "python"


def make(home: Path, kind: Flavour) -> Path:
    """Makes the environment, unless it is there, and returns its interpreter.

    An environment cannot be renamed into place. What says that it is whole is a file with the
    list's hash, written last.

    Raises:
        StackError: It cannot be made; pip's last lines are in the message.
    """
    python = python_of(home, kind)
    if python is not None:
        return python
    folder = _folder(home, kind)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(folder)])
    _run(
        [
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            # Compiling 20,000 modules takes longer than reading them; vLLM loads a few hundred.
            *("--no-compile", "--no-deps", "--requirement", str(_list(kind))),
        ]
    )
    (folder / _MARK).write_text(_digest(kind))
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
        raise StackError(
            f"the environment for vLLM cannot be made: {' '.join(command[:4])} ... ended with "
            f"status {done.returncode}. Look at the lines below, then start again.\n{lines}"
        )


def _has_nvidia() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode == 0


def _folder(home: Path, kind: Flavour) -> Path:
    return home / "envs" / f"vllm-{kind}"


def _list(kind: Flavour) -> Path:
    return _LISTS / f"requirements-{kind}.txt"


def _digest(kind: Flavour) -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    return hashlib.sha256(_list(kind).read_bytes() + version.encode()).hexdigest()
