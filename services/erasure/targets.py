"""Whom to erase."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.erasure.errors import ErasureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reclm_client import Kind

_LONGEST = 256
"""Characters of an id, as in the wire schemas."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Ids of users and items to erase, each once."""

    users: frozenset[str]
    items: frozenset[str]

    @classmethod
    def of(cls, users: Iterable[str] = (), items: Iterable[str] = ()) -> Targets:
        """Returns checked targets.

        Raises:
            ErasureError: There is no id, or one that the service would not take.
        """
        targets = cls(frozenset(users), frozenset(items))
        for kind, id_ in targets.each():
            if not 0 < len(id_) <= _LONGEST or any(_is_control(letter) for letter in id_):
                raise ErasureError(
                    f"{id_!r} is not the id of a {kind}: ids have 1 to {_LONGEST} characters, "
                    "none of them a control character"
                )
        if not (targets.users or targets.items):
            raise ErasureError("nobody is named; give --user, --item or --users-file")
        return targets

    def of_kind(self, kind: str | None) -> frozenset[str]:
        """Returns the ids of a kind; of both where the kind is not known."""
        if kind is None:
            return self.users | self.items
        return self.users if kind == "user" else self.items

    def each(self) -> Iterator[tuple[Kind, str]]:
        """Yields all ids with their kinds, in order."""
        for id_ in sorted(self.users):
            yield "user", id_
        for id_ in sorted(self.items):
            yield "item", id_


def read_ids(path: Path) -> list[str]:
    """Reads ids from a file: one a line, or a JSON object with the member `id` a line.

    Empty lines are passed over; a line keeps its white space but for the line break.

    Raises:
        ErasureError: The file cannot be read, or a line has no id; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ErasureError(f"{path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        row = line.removesuffix("\r")
        if not row.strip():
            continue
        found.append(_id_in(row, f"{path}, line {number}") if row.startswith("{") else row)
    return found


def _id_in(row: str, where: str) -> str:
    try:
        id_ = json.loads(row)["id"]
    except (ValueError, KeyError) as error:
        raise ErasureError(f"{where}: not a JSON object with a member id") from error
    if not isinstance(id_, str):
        raise ErasureError(f"{where}: the id is {id_!r}, not a string")
    return id_


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f"
