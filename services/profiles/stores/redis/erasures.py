"""Users who were erased, in Redis: a hash without a time to live.

It names people by nothing but their ids, and is needed for as long as a bundle, an export or a
queue may bring one of them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.stores.redis.client import RedisClient


class RedisErasures:
    """Erasures in one Redis server; `client` is shared, and closed by its owner."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def erased_at(self, tenant: str, user_ids: Sequence[str]) -> list[int | None]:
        """Returns when each user was last erased, in one round trip."""
        if not user_ids:
            return []
        times = await self._client.call("HMGET", keys.erasures(tenant), *user_ids)
        return [None if at_ms is None else int(at_ms) for at_ms in times]

    async def page(
        self, tenant: str, *, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Returns some of the erased users, by HSCAN."""
        after, found = await self._client.call(
            "HSCAN", keys.erasures(tenant), cursor or "0", "COUNT", limit
        )
        users = [(id_.decode(), int(at_ms)) for id_, at_ms in found.items()]
        return users, str(after) if after else None
