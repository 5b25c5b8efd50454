"""Installs extras of pyproject.toml into the environment that runs this, every file held against its hash.

Usage: .venv/bin/python deploy/install.py NAME...
A name is an extra, or a package of requirements.lock. The projects of this repository are installed
too, to be edited. pip takes no hashes for those, nor from constraints, nor for what it fetches to
build a package: so all that is fetched is in one list, and pip fetches nothing by itself.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from requirements import ROOT, asked_for, read_lock, selected, to_build

_PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
# Modules are compiled when they are first read, which most of these 20,000 never are.
_INSTALL = [*_PIP, "install", "--no-compile", "--no-deps"]
_NOT_THERE = "No matching distribution found"


def install(names: list[str]) -> None:
    """Installs what the names stand for.

    On Linux, PyPI's torch brings gigabytes of CUDA along. So its build for the CPU is taken where
    pip's indexes have it.

    Raises:
        CalledProcessError: pip failed, and has printed why.
        ValueError: A name is neither an extra nor a package of the lock.
    """
    pins = read_lock(ROOT / "requirements.lock")
    packages = {**to_build(), **asked_for(names)}
    with_torch = "torch==" in selected(pins, packages)
    text = selected(pins, packages, without_torch=with_torch and has_torch_for_cpu())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requirements.txt")
        path.write_text(text, encoding="utf-8")
        subprocess.run([*_INSTALL, "--require-hashes", "-r", str(path)], check=True)
    ours = ["-e", str(ROOT / "services" / "client"), "-e", str(ROOT)]
    subprocess.run([*_INSTALL, "--no-build-isolation", *ours], check=True)
    # What was left out of the list by mistake is found here.
    checked = subprocess.run([*_PIP, "check"], stdout=subprocess.PIPE, text=True, check=False)
    if checked.returncode != 0:
        sys.stderr.write(checked.stdout)
        checked.check_returncode()


def has_torch_for_cpu() -> bool:
    """Installs torch's build for the CPU. Returns whether there is one.

    Raises:
        CalledProcessError: There is one, and it cannot be installed, or is not what was tested.
    """
    if sys.platform != "linux":
        return False
    listed = ROOT / "deploy" / "torch-cpu.txt"
    try:
        if f"\ntorch=={importlib.metadata.version('torch')} " in listed.read_text(encoding="utf-8"):
            return True
    except importlib.metadata.PackageNotFoundError:
        pass
    command = [*_INSTALL, "--require-hashes", "-r", str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and _NOT_THERE not in done.stderr:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done.returncode == 0


if __name__ == "__main__":
    try:
        install(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
