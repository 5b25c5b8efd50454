"""Profiles in a file of JSON lines, each with an id and a text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from recommenders.data.errors import DatasetError
from services.common.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_profiles(path: Path) -> dict[str, str]:
    """Reads `{"id": "...", "text": "..."}`, one per line; other members are ignored.

    Returns:
        Id -> text, in the file's order.

    Raises:
        DatasetError: The file is missing, a line is not such an object, or an id occurs twice; the
            message names the line.
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
    """Writes profiles atomically in the format of `read_profiles`.

    Raises:
        DatasetError: An id or a text is empty. Nothing is written then.
    """
    for name, text in profiles.items():
        if not name or not text.strip():
            raise DatasetError(f"the profile of {name!r} has no id or no text")
    with atomic_file(path) as file:
        for name, text in profiles.items():
            line = json.dumps({"id": name, "text": text}, ensure_ascii=False)
            file.write(line.encode() + b"\n")


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
