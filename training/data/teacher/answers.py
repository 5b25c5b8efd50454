"""What a teacher wrote of a user or an item, together with what it had read."""

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
    """One answer of a teacher.

    Attributes:
        kind: Whose profile was asked for.
        id: The user's or item's id in the source.
        text: What the teacher wrote.
        lines: The user's items, oldest first, or the one item, as `item_line` gives them.
        neighbours: Lines of items that the same people chose, the nearest last; items only.
        source: Who wrote it.
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
    """Yields the answers in a file of JSON lines, as `Answer.to_row` makes them.

    Raises:
        InstructionDataError: The file is missing, or a row is no answer; the row is named.
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
