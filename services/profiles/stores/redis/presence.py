"""Whether anybody waits for the model: a key in Redis whose time to live tells since when not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from services.profiles.stores.redis.client import RedisClient

_FORGOTTEN_MS = 60_000


class RedisPresence:
    """One key for a tenant. The server's clock alone counts.

    Args:
        client: Shared with the other stores, closed by its owner.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def here(self, tenant: str) -> None:
        """Sets the key to live for a minute from now."""
        await self._client.call("SET", keys.presence(tenant), b"", "PX", _FORGOTTEN_MS)

    async def quiet_s(self, tenant: str) -> float:
        """Returns how much of the minute has passed."""
        left = int(await self._client.call("PTTL", keys.presence(tenant)))
        return math.inf if left < 0 else max(0.0, (_FORGOTTEN_MS - left) / 1000)
