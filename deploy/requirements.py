"""Prints what extras of pyproject.toml ask for, so that a layer can hold it without the code."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: Path, extras: list[str]) -> list[str]:
    """Returns the requirements of some extras.

    Raises:
        ValueError: There is no such extra.
    """
    known = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    unknown = sorted(set(extras) - set(known))
    if unknown:
        raise ValueError(f"{project} has no extra {', '.join(unknown)}; it has {', '.join(known)}")
    return [line for extra in extras for line in known[extra]]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path("pyproject.toml"), sys.argv[1:])) + "\n")
