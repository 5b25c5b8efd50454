"""What a run of benchmarks leaves: a table for the eye, and `build/bench.json`."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.figures import Figure

_PACKAGES = (
    "fastapi",
    "hiredis",
    "httptools",
    "numpy",
    "onnxruntime",
    "pydantic",
    "redis",
    "starlette",
    "tokenizers",
    "uvicorn",
    "uvloop",
)


class UnreadableReport(Exception):
    """An earlier `bench.json` is not what this module wrote."""


def machine() -> dict[str, object]:
    """Returns what the figures depend on besides the code."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages on the measured paths."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def entry(
    figure: Figure, *, command: str, machine: object, versions: Mapping[str, str]
) -> dict[str, object]:
    """Returns a figure as it stands in the file."""
    return {
        "value": figure.value,
        "unit": figure.unit,
        "goal": None if figure.goal is None else str(figure.goal),
        "met": None if figure.goal is None else figure.goal.met_by(figure.value),
        "notes": figure.notes,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
        "machine": machine,
        "versions": dict(versions),
    }


def read(path: Path) -> dict[str, Any]:
    """Returns the figures of earlier runs, by name; none when there is no file.

    Raises:
        UnreadableReport: The file is not a JSON object.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UnreadableReport(f"{path} is not JSON ({error}); move it away") from error
    if not isinstance(document, dict):
        raise UnreadableReport(f"{path} is not a JSON object; move it away")
    return document


def merge(path: Path, entries: Mapping[str, object]) -> None:
    """Writes figures over those of the same names, and keeps all others.

    Raises:
        UnreadableReport: As `read` does; the file is left as it is.
    """
    document = dict(sorted({**read(path), **entries}.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    new.replace(path)


def table(figures: Sequence[Figure]) -> str:
    """Returns the figures as lines of text, the notes of each under it."""
    rows = [("figure", "value", "unit", "goal", "")]
    for figure in figures:
        met = "" if figure.goal is None else "met" if figure.goal.met_by(figure.value) else "MISSED"
        rows.append((figure.name, number(figure.value), figure.unit, str(figure.goal or ""), met))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {unit:<{widths[2]}}  {goal:<{widths[3]}}  {met}"
        for name, value, unit, goal, met in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    for figure in figures:
        if figure.notes:
            said = ", ".join(f"{name} {value}" for name, value in figure.notes.items())
            lines.append(f"{figure.name}: {said}")
    return "\n".join(line.rstrip() for line in lines)


def number(value: float) -> str:
    """Returns a number with three digits that count, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass  # not Linux: Python's own answer has to do
    return platform.processor()
