"""Virtual environments for vLLM, made from a list of requirements with the hash of every file."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from services.assets.install import exclusive
from services.common.files import write_text
from services.stack.errors import StackError

Flavour = Literal["cpu", "cuda"]

_LISTS = Path(__file__).parents[2] / "deploy" / "vllm"
_MARK = "complete"
_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def flavour() -> Flavour | None:
    """Returns which build of vLLM runs on this machine; None if none does."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    return "cuda" if _has_nvidia() else "cpu"


def python_of(home: Path, kind: Flavour) -> Path | None:
    """Returns the environment's interpreter; None if it is incomplete or of another list."""
    folder = _folder(home, kind)
    mark = folder / _MARK
    python = folder / "bin" / "python"
    if not mark.is_file() or mark.read_text() != _digest(kind) or not python.exists():
        return None
    return python


def make(home: Path, kind: Flavour) -> Path:
    """Makes the environment, unless it exists, and returns its interpreter.

    A virtual environment cannot be renamed into place. A file with the hash of the list, written
    last, marks it as complete.

    Raises:
        StackError: The environment cannot be made; the message has pip's last lines.
    """
    digest = _digest(kind)
    folder = _folder(home, kind)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        python = python_of(home, kind)
        if python is not None:
            return python
        if folder.exists():
            shutil.rmtree(folder)
        python = folder / "bin" / "python"
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # vLLM loads a few hundred of 20,000 modules: to compile all takes longer than it saves.
        pip += ["--no-compile", "--no-deps", "--require-hashes"]
        if kind == "cpu":
            _install_cpu_torch(pip)
        _run([*pip, "--requirement", str(_list(kind))])
        write_text(folder / _MARK, digest)
    return python


def _install_cpu_torch(pip: list[str]) -> None:
    """Installs torch from pip's index, else from PyTorch's, since PyPI has no CPU builds."""
    torch = re.search(r"^torch==(.*\\\n)*.*$", _list("cpu").read_text(), re.MULTILINE)
    if torch is None:
        raise StackError(f"{_list('cpu')} does not pin torch")
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, "torch.txt")
        alone.write_text(torch[0], encoding="utf-8")
        try:
            _run([*pip, "--requirement", str(alone)])
        except StackError:
            _run([*pip, "--index-url", _TORCH_CPU_INDEX, "--requirement", str(alone)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
        raise StackError(
            f"the environment for vLLM cannot be made: {' '.join(command[:4])} ... ended with "
            f"status {done.returncode}. Fix the error below, then run the command again.\n{lines}"
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
    if not _list(kind).is_file():
        raise StackError(f"{_list(kind)} is missing: run RecLM from a checkout of its repository")
    return hashlib.sha256(_list(kind).read_bytes() + version.encode()).hexdigest()
