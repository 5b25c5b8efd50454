"""The active scorer and the one before it, in the memory of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.stores.base import ActiveRefs

if TYPE_CHECKING:
    from services.profiles.stores.base import ScorerRef

_NONE = ActiveRefs(None, None)


class MemoryScorers:
    """Scorers in a dictionary; nothing outlives the process."""

    def __init__(self) -> None:
        self._refs: dict[str, ActiveRefs] = {}

    async def refs(self, tenant: str) -> ActiveRefs:
        """Returns both."""
        return self._refs.get(tenant, _NONE)

    async def activate(self, tenant: str, ref: ScorerRef) -> ActiveRefs:
        """Sets both; the active one is not its own predecessor."""
        refs = await self.refs(tenant)
        if refs.active != ref:
            previous = refs.previous if refs.active is None else refs.active
            self._refs[tenant] = ActiveRefs(active=ref, previous=previous)
        return await self.refs(tenant)

    async def swap(self, tenant: str, expected: ActiveRefs) -> bool:
        """Exchanges them if they are as expected."""
        refs = await self.refs(tenant)
        if refs != expected or expected.active is None or expected.previous is None:
            return False
        self._refs[tenant] = ActiveRefs(active=refs.previous, previous=refs.active)
        return True
