"""Prints what extras of pyproject.toml need, all of it, pinned and with hashes: out of requirements.lock.

Standard library only: it runs before anything is installed, and in a layer that has no code.
Usage: python deploy/requirements.py [--without-torch] NAME...
A name is an extra, or a package of the lock.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).resolve().parent
# In an image these files lie beside this one.
ROOT = HERE.parent if (HERE.parent / "pyproject.toml").is_file() else HERE

_CUDA = re.compile(r"torch|triton|(nvidia|cuda)-.*")
"""What the builds of torch for the CPU do not need, and torch itself, which is installed apart."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A package of the lock: its lines, and the names of the packages that need it."""

    text: str
    needed_by: frozenset[str]


def normalized(requirement: str) -> str:
    """Returns the name of a requirement's package as indexes spell it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def read_lock(path: Path) -> dict[str, Pin]:
    """Returns the packages of a lock by name."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    pins = {}
    for block in blocks[1:]:
        text, _, via = block.partition("    # via ")
        pins[normalized(text)] = Pin(text, frozenset(via.strip().split(", ")) - {""})
    return pins


def asked_for(names: Iterable[str], *, root: Path = ROOT) -> dict[str, str]:
    """Returns what extras ask for, by the package's name; a name that is no extra asks for itself.

    What an extra asks of our own two projects stands for what those ask for.
    """
    extras = _toml(root / "pyproject.toml")["project"]["optional-dependencies"]
    found: dict[str, str] = {}
    for name in names:
        for requirement in extras.get(name, [name]):
            ours = re.fullmatch(r"(reclm|reclm-client)\[([a-z,]+)\]", requirement)
            if ours is None:
                found.setdefault(normalized(requirement), requirement)
            elif ours[1] == "reclm":
                found |= asked_for(ours[2].split(","), root=root)
            else:
                found |= asked_of_client(ours[2].split(","), root=root)
    return found


def asked_of_client(names: Iterable[str], *, root: Path = ROOT) -> dict[str, str]:
    """Returns what the client, and extras of it, ask for."""
    project = _toml(root / "services" / "client" / "pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in names for line in extras[name])]
    found: dict[str, str] = {}
    for line in lines:
        if ours := re.fullmatch(r"reclm-client\[([a-z,]+)\]", line):
            found |= asked_of_client(ours[1].split(","), root=root)
        else:
            found[normalized(line)] = line
    return found


def to_build(root: Path = ROOT) -> dict[str, str]:
    """Returns what it takes to build our projects; hatchling asks for editables by a hook."""
    lines = [*_toml(root / "pyproject.toml")["build-system"]["requires"], "editables"]
    return {normalized(line): line for line in lines}


def selected(
    pins: Mapping[str, Pin], packages: Iterable[str], *, without_torch: bool = False
) -> str:
    """Returns the lines of some packages, and of all that they need.

    Args:
        pins: The lock.
        packages: Their names.
        without_torch: Leave out torch, and what only its builds for CUDA need.

    Raises:
        ValueError: A package is not in the lock.
    """
    wanted = set(packages)
    if unknown := sorted(wanted - set(pins)):
        raise ValueError(
            f"{', '.join(unknown)}: neither an extra nor a package of the lock; after a change of "
            "pyproject.toml run `make lock`"
        )
    while more := {name for name in pins if pins[name].needed_by & wanted} - wanted:
        wanted |= more
    if without_torch:
        kept = {name for name in wanted if not _CUDA.fullmatch(name)}
        # Others may need such a package too: xgrammar needs triton.
        wanted = kept | {name for name in wanted - {"torch"} if pins[name].needed_by & kept}
    return "".join(pins[name].text for name in sorted(wanted))


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    names = sys.argv[1:]
    without = "--without-torch" in names
    lock = read_lock(ROOT / "requirements.lock")
    wanted_names = asked_for(name for name in names if name != "--without-torch")
    sys.stdout.write(selected(lock, wanted_names, without_torch=without))
