"""All filters of training rows. A new filter is a function, and a line in `FILTERS`.

Answers that are wrong in themselves are dropped before, by `training.data.filters.answers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.data.filters.rarity import rarest
from training.data.filters.repetition import repetitive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.profiles.domain.profile import ProfileText

    Filter = Callable[[Sequence[ProfileText], "FilterOptions"], list[bool]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterOptions:
    """Options of the filters; the defaults keep every row.

    Attributes:
        no_repetitive: Whether to leave out profiles that repeat themselves.
        rarest: Share of the profiles of each kind to keep, those with the rarest phrases.
    """

    no_repetitive: bool = False
    rarest: float = 1.0


@dataclass(frozen=True, slots=True)
class FilteredRows:
    """What the filters kept.

    Attributes:
        kept: For each row, whether every filter keeps it.
        dropped: Name of a filter -> number of rows that it left out, of those that came to it.
    """

    kept: list[bool]
    dropped: Mapping[str, int]


def _repetitive(profiles: Sequence[ProfileText], options: FilterOptions) -> list[bool]:
    if not options.no_repetitive:
        return [True] * len(profiles)
    return [not found for found in repetitive(profiles)]


def _bland(profiles: Sequence[ProfileText], options: FilterOptions) -> list[bool]:
    return rarest(profiles, options.rarest)


FILTERS: Mapping[str, Filter] = {"repetitive": _repetitive, "bland": _bland}
"""Name of what a filter leaves out -> for each profile, whether it is kept. Applied in this order."""


def filter_rows(profiles: Sequence[ProfileText], options: FilterOptions) -> FilteredRows:
    """Applies all filters in their order, each to what the ones before have kept."""
    left = list(range(len(profiles)))
    dropped = {}
    for name, keep in FILTERS.items():
        flags = keep([profiles[row] for row in left], options)
        dropped[name] = flags.count(False)
        left = [row for row, kept in zip(left, flags, strict=True) if kept]
    kept = set(left)
    return FilteredRows([row in kept for row in range(len(profiles))], dropped)
