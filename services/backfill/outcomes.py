"""Counts of the rows by outcome."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(slots=True)
class OutcomeCounts:
    """Counts of rows, each in exactly one of the first five.

    Attributes:
        generated: Made by the model.
        cached: Found in the service's cache.
        failed: Failed for good; in the failures file.
        unchanged: Done by an earlier run, and not requested again.
        erased: Of users whom the service has erased; not requested, and not in the output.
        pushed_back: Requests that were refused for now.
    """

    generated: int = 0
    cached: int = 0
    failed: int = 0
    unchanged: int = 0
    erased: int = 0
    pushed_back: int = 0

    @property
    def rows(self) -> int:
        """Rows that have an outcome."""
        return self.generated + self.cached + self.failed + self.unchanged + self.erased

    def add(self, other: OutcomeCounts) -> None:
        """Adds another count to this one."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, mine + theirs)

    def to_dict(self) -> dict[str, int]:
        """Returns the counts by name."""
        return asdict(self)
