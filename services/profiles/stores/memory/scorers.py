"""The names of the active scorer and of the one before it, in the memory of this process."""

from __future__ import annotations

from services.profiles.stores.base import ScorerNames

_NONE = ScorerNames(None, None)


class MemoryScorers:
    """Names in a dictionary; nothing outlives the process."""

    def __init__(self) -> None:
        self._names: dict[str, ScorerNames] = {}

    async def names(self, tenant: str) -> ScorerNames:
        """Returns both names."""
        return self._names.get(tenant, _NONE)

    async def activate(self, tenant: str, name: str) -> ScorerNames:
        """Sets both names; the active one is not its own predecessor."""
        names = await self.names(tenant)
        if names.active != name:
            previous = names.previous if names.active is None else names.active
            self._names[tenant] = ScorerNames(active=name, previous=previous)
        return await self.names(tenant)

    async def swap(self, tenant: str, expected: ScorerNames) -> bool:
        """Exchanges the names if they are as expected."""
        names = await self.names(tenant)
        if names != expected or expected.active is None or expected.previous is None:
            return False
        self._names[tenant] = ScorerNames(active=names.previous, previous=names.active)
        return True
