"""Where a bundle's profiles do not count, because on validation they may have done harm."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from services.profiles.scoring.bundle import Bundle
    from services.profiles.scoring.manifest import GateRecord


class LeftOut(NamedTuple):
    """The items for which a user's profile is left out."""

    warm: bool
    cold: bool


NOTHING = LeftOut(warm=False, cold=False)


class ProfileGate:
    """Decides by a user's clicks for which items the profile counts.

    Attributes:
        cold: Rows of the items that no user of the bundle has in the training data, ascending.
        warm: Rows of the others.
    """

    def __init__(self, bundle: Bundle) -> None:
        seen = np.zeros(len(bundle.item_ids), np.bool_)
        seen[bundle.seen_indices] = True
        self.warm: NDArray[np.intp] = np.flatnonzero(seen)
        self.cold: NDArray[np.intp] = np.flatnonzero(~seen)
        self._least, self._decisions = _decisions(bundle.manifest.gate)

    def left_out(self, clicks: int) -> LeftOut:
        """Returns the items for which the profile of a user with this many known items is left out."""
        place = bisect_right(self._least, clicks) - 1
        return self._decisions[place] if place >= 0 else NOTHING


def _decisions(gate: GateRecord | None) -> tuple[list[int], list[LeftOut]]:
    """Returns the least clicks of each segment, ascending, and what is left out in it.

    A profile is left out where the lower end of the difference's interval is below minus the margin.
    Of a segment that was not measured nothing is known, and the profile counts.
    """
    if gate is None:
        return [], []
    harms = {
        (segment.clicks, segment.items): segment.low is not None and segment.low < -gate.margin
        for segment in gate.segments
    }
    least = sorted({clicks for clicks, _ in harms})
    return least, [
        LeftOut(harms.get((clicks, "warm"), False), harms.get((clicks, "cold"), False))
        for clicks in least
    ]
