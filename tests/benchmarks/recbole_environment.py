"""The virtual environment that RecBole runs in: made once from a pinned list, whole or not used."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from services.assets.install import exclusive

_LIST = Path(__file__).with_name("requirements-recbole.txt")
_MARK = "complete"
_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def recbole_python(home: Path) -> Path:
    """Makes the environment under `bench/recbole-1.2.1`, unless it is there.

    Torch is of the very version that ours is, so that both sides have the same kernels.

    Returns:
        Its interpreter.

    Raises:
        RuntimeError: It cannot be made; pip's last lines are in the message.
    """
    folder = home / "bench" / "recbole-1.2.1"
    python, torch = folder / "bin" / "python", f"torch=={metadata.version('torch')}"
    digest = hashlib.sha256(_LIST.read_bytes() + f"{torch} {sys.version}".encode()).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        mark = folder / _MARK
        if mark.is_file() and mark.read_text() == digest:
            return python
        print(f"making {folder} ...", flush=True)
        if folder.exists():
            shutil.rmtree(folder)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # PyPI has no builds for CPU.
        _run([*pip, "--extra-index-url", _TORCH_CPU_INDEX, torch], [*pip, torch])
        _run([*pip, "--no-deps", "--requirement", str(_LIST)])
        mark.write_text(digest)
    return python


def _run(*commands: list[str]) -> None:
    """Runs the first of some commands that succeeds."""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
    raise RuntimeError(f"RecBole's environment cannot be made:\n{lines}")
