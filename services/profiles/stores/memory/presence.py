"""Whether anybody waits for the model, in the memory of this process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FORGOTTEN_S = 60.0


class MemoryPresence:
    """The time of the last call, by tenant.

    Args:
        clock: Returns seconds, as `time.monotonic` does.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at: dict[str, float] = {}

    async def here(self, tenant: str) -> None:
        """Keeps the time."""
        self._at[tenant] = self._clock()

    async def quiet_s(self, tenant: str) -> float:
        """Returns the time since then."""
        quiet = self._clock() - self._at.get(tenant, -math.inf)
        return quiet if quiet < _FORGOTTEN_S else math.inf
