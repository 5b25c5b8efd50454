"""A cache of the vectors of interests: a few thousand phrases make up most of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from services.profiles.encoders.base import Encoder


class Phrases:
    """Encodes phrases, and keeps the vectors of those that were used last.

    Args:
        capacity: Most phrases kept; the least recently used goes first.
    """

    def __init__(self, encoder: Encoder, *, capacity: int = 8192) -> None:
        self._encoder = encoder
        self._capacity = capacity
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    async def vectors(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit-length vectors, shape (len(phrases), dimension), in order.

        Raises:
            EncoderUnavailable: As the encoder does.
        """
        # Read before the await: other calls may evict these phrases meanwhile.
        found = {phrase: self._kept[phrase] for phrase in phrases if phrase in self._kept}
        missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in found]
        if missing:
            found.update(zip(missing, await self._encoder.encode(missing), strict=True))
        rows = [found[phrase] for phrase in phrases]
        for phrase, row in zip(phrases, rows, strict=True):
            self._kept[phrase] = row
            self._kept.move_to_end(phrase)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return np.stack(rows)
