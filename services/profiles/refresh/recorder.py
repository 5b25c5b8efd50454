"""Records interactions: checks them, stores them, and schedules refreshes of profiles."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.profiles.domain.profile import ProfileKey
from services.profiles.errors import UnknownItems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.stores.base import (
        Catalogue,
        Event,
        Interactions,
        ProfileStore,
        Refreshes,
    )
    from services.profiles.telemetry import Metrics


class Recorder:
    """Records interactions of one tenant's users.

    Args:
        cap: Most interactions of a user that `events` returns.
    """

    def __init__(
        self,
        *,
        profiles: ProfileStore,
        catalogue: Catalogue,
        interactions: Interactions,
        refreshes: Refreshes,
        tenant: str,
        cap: int,
        metrics: Metrics,
    ) -> None:
        self._profiles = profiles
        self._catalogue = catalogue
        self._interactions = interactions
        self._refreshes = refreshes
        self._tenant = tenant
        self._cap = cap
        self._metrics = metrics

    async def record(self, events: Sequence[Event]) -> dict[str, int]:
        """Stores events and schedules a refresh for each of their users.

        To record the same events again changes nothing, so that a caller without an answer can send
        them again. What is from before its user's erasure is left out.

        Returns:
            How many events of each user were not left out.

        Raises:
            UnknownItems: The catalogue lacks some of the items; nothing is stored.
            StoreUnavailable: As the stores do.
        """
        ids = list(dict.fromkeys(event.item_id for event in events))
        users = list(dict.fromkeys(event.user_id for event in events))
        keys = [ProfileKey(self._tenant, "user", user) for user in users]
        items, epochs = await asyncio.gather(
            self._catalogue.get_items(self._tenant, ids), self._profiles.epochs(keys)
        )
        unknown = [id_ for id_, item in zip(ids, items, strict=True) if item is None]
        if unknown:
            raise UnknownItems(unknown, inline=False)
        taken = await self._interactions.append(
            self._tenant, events, epochs=dict(zip(users, epochs, strict=True))
        )
        if taken:
            await self._refreshes.schedule(self._tenant, list(taken))
        self._metrics.interactions.inc(sum(taken.values()))
        return taken

    async def events(self, user_id: str) -> list[Event]:
        """Returns the newest events of a user, oldest first."""
        return await self._interactions.events(self._tenant, user_id, limit=self._cap)
