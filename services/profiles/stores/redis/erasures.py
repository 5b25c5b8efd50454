"""Users who were erased, in Redis: a hash without a time to live.

It names people by nothing but their ids, and is needed for as long as a bundle, an export or a
queue may bring one of them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reclm_client.schemas.erasure import Copy
from reclm_client.schemas.fields import from_milliseconds
from services.profiles.errors import StoreUnavailable
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

    async def copies(self) -> list[Copy]:
        """Returns the files and the replicas of the server, as far as it tells of them."""
        try:
            persistence = await self._client.call("INFO", "persistence")
            replication = await self._client.call("INFO", "replication")
        except StoreUnavailable:
            # Often a server that does not let this user read INFO; a lost one fails elsewhere too.
            return [
                Copy("files and replicas of Redis, which did not tell of them", "unknown", None)
            ]
        return [*_files(persistence), *_replicas(replication)]


def _files(persistence: dict[str, Any]) -> list[Copy]:
    found = []
    if persistence.get("aof_enabled"):
        found.append(
            Copy(
                "append-only file of Redis, with every write since its last rewrite",
                "its next rewrite",
                "`redis-cli BGREWRITEAOF`",
            )
        )
    saved_s = persistence.get("rdb_last_save_time")
    if saved_s:
        at = from_milliseconds(1000 * int(saved_s)).isoformat()
        found.append(
            Copy(
                f"snapshot file of Redis (dump.rdb), if it writes one: the last is of {at} or before",
                "its next save after the erasure",
                "`redis-cli BGSAVE`",
            )
        )
    return found


def _replicas(replication: dict[str, Any]) -> list[Copy]:
    count = int(replication.get("connected_slaves", 0))
    if not count:
        return []
    return [
        Copy(
            f"{count} replica(s) of Redis: their memory erases as they follow; their files are like "
            "the server's own",
            "their next rewrite and save",
            "`redis-cli BGREWRITEAOF` and `redis-cli BGSAVE` on each",
        )
    ]
