"""What a process has told callers: when to come back."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

_EARLY_S = 1.0
"""Who comes so much too early counts as punctual: clocks and rounding."""

_LATE_S = 5.0
"""After this time a place is not kept any longer."""

_MOST = 10_000
_LONGEST_S = 60.0


class Promises:
    """Places that are kept for those who were told when to come back, and who come.

    Others are told a later time, so that the room is not gone when their time has come.
    """

    def __init__(self) -> None:
        self._due: OrderedDict[Hashable, float] = OrderedDict()

    def give(self, key: Hashable, now: float, after_s: float) -> float:
        """Keeps a place, and returns the seconds after which to come back: whole ones."""
        seconds = math.ceil(min(max(after_s, 1.0), _LONGEST_S))
        self._due[key] = now + seconds
        self._due.move_to_end(key)
        if len(self._due) > _MOST:
            self._due.popitem(last=False)
        return float(seconds)

    def keep(self, key: Hashable, now: float) -> bool:
        """Returns whether a place is kept for who comes now; it is given then."""
        due = self._due.get(key)
        if due is None or now < due - _EARLY_S:
            return False
        del self._due[key]
        return now <= due + _LATE_S

    def outstanding(self, now: float) -> int:
        """Returns how much room is kept."""
        while self._due:
            key, due = next(iter(self._due.items()))
            if due + _LATE_S >= now:
                break
            del self._due[key]
        return len(self._due)
