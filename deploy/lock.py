"""Writes the files of hashes: `make lock`, after a change of pyproject.toml, constraints.txt, deploy/vllm or deploy/*.in.

- requirements.lock: every package of .venv and of the images, at the version in constraints.txt.
- deploy/vllm/requirements-*.txt: those of vLLM's environments, from the lists deploy/vllm/*.in.
- deploy/torch-cpu.txt: torch's builds for the CPU, which are on an index of PyTorch's own.
- deploy/sbom.txt: what writes the list of parts, from deploy/sbom.in. It has an environment of its own:
  with it come packages that make `import jsonschema`, and so `import ray`, seconds slower.

Each has the SHA-256 of every file that the index has of a version, and so fits every Python and
machine. uv asks the index for the hashes; nothing is downloaded or installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.markers import Marker

sys.path.insert(0, str(Path(__file__).parent))
from requirements import ROOT, asked_for, to_build

TORCH_INDEX_URL = os.environ.get("TORCH_INDEX_URL", "https://download.pytorch.org/whl/cpu")
_LOCK = ROOT / "requirements.lock"
_TORCH = ROOT / "deploy" / "torch-cpu.txt"
_HEADER = "# Written by `make lock` (deploy/lock.py). Do not edit.\n"
_PLATFORMS = [
    {"sys_platform": system, "platform_machine": machine, "python_full_version": f"{python}.9"}
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
    for python in ("3.11", "3.12", "3.13")
] + [{"sys_platform": "linux", "platform_machine": "x86_64", "python_full_version": "3.11.2"}]
"""Where RecLM runs; what is needed nowhere there is no part of the lock."""


class LockError(Exception):
    """The hashes cannot be had; the message has the last lines that uv printed."""


def compiled(lines: list[str], *options: str) -> str:
    """Returns requirements as uv writes them: pinned, with hashes.

    Raises:
        LockError: They do not fit each other, or the index does not answer or gives no hashes.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--system-certs"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
    done = subprocess.run(
        [*command, *options],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise LockError("\n".join(done.stderr.strip().splitlines()[-10:]))
    bare = [block for block in blocks(done.stdout) if "--hash=sha256:" not in block]
    if bare:
        raise LockError(f"the index gives no hash of {', '.join(map(str.strip, bare))}")
    return done.stdout


def blocks(text: str) -> list[str]:
    """Returns requirements one by one, each with the lines that belong to it."""
    return [
        part for part in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE) if "==" in part
    ]


def project_lock() -> str:
    """Returns requirements.lock: of each package its hashes, and which packages need it."""
    asked = {**to_build(), **asked_for(["dev"])}
    text = compiled(
        [asked[name] for name in sorted(asked)],
        *("--constraints", "constraints.txt", "--annotation-style", "line"),
    )
    return _HEADER + "".join(map(_tidied, blocks(text)))


def torch_builds(version: str) -> str:
    """Returns torch's builds for the CPU; those of a version that is known already are kept.

    Raises:
        LockError: The version is another one, and PyTorch's index does not answer.
    """
    text = _TORCH.read_text(encoding="utf-8") if _TORCH.is_file() else ""
    if f"\ntorch=={version}+cpu " in text:
        return text
    options = ("--no-deps", "--no-annotate", "--index-url", TORCH_INDEX_URL)
    return _HEADER + compiled([f"torch=={version}+cpu"], *options)


def vllm_list(path: Path, torch: str) -> str:
    """Returns a list of deploy/vllm with hashes."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] not in "# "]
    found = _HEADER
    if lines[0].startswith("torch==") and lines[0].endswith("+cpu"):
        block = torch[torch.index("torch==") :]
        if not block.startswith(f"{lines[0]} "):
            raise LockError(f"{path} has {lines[0]}, and {_TORCH} another version")
        found, lines = found + block, lines[1:]
    return found + compiled(lines, "--no-deps", "--no-annotate")


def main() -> int:
    """Writes all files, or none. Returns the exit status."""
    version = re.search(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    try:
        if version is None:
            raise LockError("constraints.txt does not pin torch")
        torch = torch_builds(version[1])
        made = {_LOCK: project_lock(), _TORCH: torch}
        for path in sorted((ROOT / "deploy" / "vllm").glob("requirements-*.in")):
            made[path.with_suffix(".txt")] = vllm_list(path, torch)
        for path in (ROOT / "deploy").glob("*.in"):
            lines = path.read_text(encoding="utf-8").splitlines()
            made[path.with_suffix(".txt")] = _HEADER + compiled(lines, "--no-annotate")
    except LockError as error:
        sys.stderr.write(f"error: nothing was written: {error}\n")
        return 1
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


def _tidied(block: str) -> str:
    """Returns a package of the lock with the names alone that need it; empty if it is needed nowhere."""
    requirement, _, via = block.partition("    # via ")
    marker = re.match(r"[^;\\]*;([^\\]*)", requirement)
    if marker and not any(Marker(marker[1]).evaluate(one) for one in map(_whole, _PLATFORMS)):
        return ""
    needed_by = [name for name in via.strip().split(", ") if re.fullmatch(r"[a-z0-9-]+", name)]
    return requirement + (f"    # via {', '.join(needed_by)}\n" if needed_by else "")


def _whole(platform: dict[str, str]) -> dict[str, str]:
    python = platform["python_full_version"].rpartition(".")[0]
    return {**platform, "python_version": python, "os_name": "posix", "extra": ""}


if __name__ == "__main__":
    raise SystemExit(main())
