"""Users who were erased, in the memory of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reclm_client.schemas.erasure import Copy


class MemoryErasures:
    """Erasures in a dictionary; nothing outlives the process."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, int]] = {}

    async def erased_at(self, tenant: str, user_ids: Sequence[str]) -> list[int | None]:
        """Returns when each user was last erased."""
        at = self._at.get(tenant, {})
        return [at.get(user_id) for user_id in user_ids]

    async def page(
        self, tenant: str, *, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Returns some of the erased users."""
        first = int(cursor or 0)
        users = list(self._at.get(tenant, {}).items())
        end = first + limit
        return users[first:end], str(end) if end < len(users) else None

    async def copies(self) -> list[Copy]:
        """Returns nothing: there is no file and no other server."""
        return []

    def add(self, tenant: str, user_id: str, at_ms: int) -> None:
        """Notes an erasure."""
        self._at.setdefault(tenant, {})[user_id] = at_ms
