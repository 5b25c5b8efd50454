"""Profiles in a file: JSON lines of an id and a text, wherever the profiles were made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_profiles(path: Path) -> dict[str, str]:
    """Reads `{"id": "...", "text": "..."}`, one on a line; other members are passed over.

    Returns:
        Id -> text, in the file's order.

    Raises:
        DatasetError: The file is missing, or a line is not such an object or has an id a second
            time; the line is named.
    """
    profiles: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path}, line {number}"
                name, text = _profile(line, where)
                if name in profiles:
                    raise DatasetError(f"{where}: id {name!r} a second time")
                profiles[name] = text
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    return profiles


def write_profiles(path: Path, profiles: Mapping[str, str]) -> None:
    """Writes profiles as `read_profiles` reads them, whole or not at all.

    Raises:
        DatasetError: An id or a text is empty; nothing is written.
    """
    for name, text in profiles.items():
        if not name or not text.strip():
            raise DatasetError(f"the profile of {name!r} has no id or no text")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        new = Path(scratch, "new")
        with new.open("w", encoding="utf-8") as file:
            for name, text in profiles.items():
                file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
        new.rename(path)


def _profile(line: bytes, where: str) -> tuple[str, str]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: not an object")
    for member in ("id", "text"):
        if not isinstance(value.get(member), str) or not value[member].strip():
            raise DatasetError(f"{where}: {member} is {value.get(member)!r}, not a text")
    return value["id"], value["text"]
