"""What users chose lately: a capped list in Redis for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.stores.base import Event
    from services.profiles.stores.redis_client import RedisClient


class RedisInteractions:
    """Interactions in one Redis server.

    Args:
        client: Shared with the other stores, closed by its owner.
        cap: Most items kept of a user.
        ttl_s: How long a user's list is kept after the last event.
    """

    def __init__(self, client: RedisClient, *, cap: int, ttl_s: int) -> None:
        self._client = client
        self._cap = cap
        self._ttl_s = ttl_s

    async def append(self, tenant: str, events: Sequence[Event]) -> None:
        """Adds events to the ends of their users' lists, in one round trip."""
        async with self._client.transaction() as pipeline:
            for event in events:
                name = keys.interactions(tenant, event.user_id)
                pipeline.rpush(name, event.item_id)
                pipeline.ltrim(name, -self._cap, -1)
                pipeline.expire(name, self._ttl_s)
            await pipeline.execute()

    async def history(self, tenant: str, user_id: str, *, limit: int) -> list[str]:
        """Returns the end of a user's list."""
        name = keys.interactions(tenant, user_id)
        return [id_.decode() for id_ in await self._client.call("LRANGE", name, -limit, -1)]
