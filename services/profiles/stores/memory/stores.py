"""All stores in the memory of this process: for one worker, for a trial, and for tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.stores.memory.catalogue import MemoryCatalogue
from services.profiles.stores.memory.erasures import MemoryErasures
from services.profiles.stores.memory.interactions import MemoryInteractions
from services.profiles.stores.memory.presence import MemoryPresence
from services.profiles.stores.memory.profiles import MemoryProfiles
from services.profiles.stores.memory.refreshes import MemoryRefreshes
from services.profiles.stores.memory.scorers import MemoryScorers

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.profiles.domain.profile import ProfileKey
    from services.profiles.settings import Settings


@dataclass(frozen=True, slots=True)
class MemoryStores:
    """Stores of one process; nothing outlives it."""

    profiles: MemoryProfiles
    catalogue: MemoryCatalogue
    interactions: MemoryInteractions
    refreshes: MemoryRefreshes
    scorers: MemoryScorers
    erasures: MemoryErasures
    presence: MemoryPresence
    erasure_ttl_s: int

    async def erase(self, key: ProfileKey) -> bool:
        """Erases a user or an item; without a point of suspension, so as one step."""
        now_ms = time.time_ns() // 1_000_000
        if key.kind == "user":
            self.interactions.drop(key.tenant, key.id)
            self.refreshes.drop(key.tenant, key.id)
            self.erasures.add(key.tenant, key.id, now_ms)
        return self.profiles.put_tombstone(key, now_ms, ttl_s=self.erasure_ttl_s)

    async def fault(self) -> str | None:
        """Finds nothing: memory can always be used."""
        return None

    async def aclose(self) -> None:
        """Holds nothing to close."""


def open_memory_stores(
    settings: Settings, *, clock: Callable[[], float] = time.monotonic
) -> MemoryStores:
    """Returns empty stores.

    Args:
        settings: How long things are kept, and how many.
        clock: Returns seconds, as `time.monotonic` does.
    """
    profiles = MemoryProfiles(lease_s=settings.lease_s, clock=clock)
    erasures = MemoryErasures()
    return MemoryStores(
        profiles=profiles,
        catalogue=MemoryCatalogue(),
        interactions=MemoryInteractions(
            profiles=profiles,
            erasures=erasures,
            cap=settings.max_interactions,
            ttl_s=settings.profile_ttl_s,
            clock=clock,
        ),
        refreshes=MemoryRefreshes(
            quiet_s=settings.refresh_quiet_s,
            max_wait_s=settings.refresh_max_wait_s,
            lease_s=settings.lease_s,
            clock=clock,
        ),
        scorers=MemoryScorers(),
        erasures=erasures,
        presence=MemoryPresence(clock=clock),
        erasure_ttl_s=settings.erasure_ttl_s,
    )
