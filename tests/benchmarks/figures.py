"""A figure that a benchmark yields, and the goal that it is held against."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound: at least, or at most, so much."""

    bound: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        """Says whether a value is on the right side of the bound, the bound included."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:,g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number.

    Attributes:
        name: `group.what`, the key in `build/bench.json`.
        goal: None for a figure that only explains another.
        notes: How the measurement went, where that bears on how far to trust it.
    """

    name: str
    value: float
    unit: str
    goal: Goal | None = None
    notes: dict[str, object] = field(default_factory=dict)


def at_least(bound: float) -> Goal:
    return Goal(bound, at_least=True)


def at_most(bound: float) -> Goal:
    return Goal(bound, at_least=False)
