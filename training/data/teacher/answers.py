"""The answers of a teacher, with the lines that the teacher read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from services.profiles.domain.profile import Kind
from training.data.errors import InstructionDataError
from training.data.folder import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KINDS = get_args(Kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherAnswer:
    """A teacher's answer to the request for a profile.

    Attributes:
        kind: Whether the profile is of a user or an item.
        id: Id of the user or item in the source.
        text: Text of the answer.
        lines: Lines of the user's items, oldest first, or of the one item, as by `item_line`.
        neighbours: Lines of items that the same users chose, the nearest last; for items only.
        source: Name of the teacher or of the source.
    """

    kind: Kind
    id: str
    text: str
    lines: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    source: str

    def to_row(self) -> dict[str, Any]:
        """Returns the answer as a row of JSON lines."""
        return {
            "id": self.id,
            "kind": self.kind,
            "text": self.text,
            "lines": list(self.lines),
            "neighbours": list(self.neighbours),
            "source": self.source,
        }


def read_answers(path: Path) -> Iterator[TeacherAnswer]:
    """Yields the answers in a file of JSON lines, as `TeacherAnswer.to_row` writes them.

    Raises:
        InstructionDataError: The file is missing, or a row is not an answer; the line is named.
    """
    for number, row in enumerate(read_lines(path), start=1):
        yield _answer(row, f"{path}, line {number}")


def _answer(row: Mapping[str, Any], where: str) -> TeacherAnswer:
    for member in ("id", "text", "source"):
        if not isinstance(row.get(member), str):
            raise InstructionDataError(f"{where}: {member} is {row.get(member)!r}, not a text")
    if row.get("kind") not in _KINDS:
        raise InstructionDataError(f"{where}: kind is {row.get('kind')!r}, not user or item")
    for member in ("lines", "neighbours"):
        texts = row.get(member)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InstructionDataError(f"{where}: {member} is {texts!r}, not a list of texts")
    return TeacherAnswer(
        kind=row["kind"],
        id=row["id"],
        text=row["text"],
        lines=tuple(row["lines"]),
        neighbours=tuple(row["neighbours"]),
        source=row["source"],
    )
