"""Leases are renewed together while they are needed, and no longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.cache.single_flight import Leases
from services.profiles.domain.profile import ProfileKey
from services.profiles.errors import StoreUnavailable
from services.profiles.stores.base import Lease

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

LEASE, OTHER = (Lease(ProfileKey("t", "user", name), name.encode()) for name in "ab")


class Renewals:
    """A store that notes what is renewed, each time after a while."""

    def __init__(self, *, lost: Sequence[Lease] = (), failing: bool = False) -> None:
        self.asked: list[list[Lease]] = []
        self.wanted = 0
        self.reached = asyncio.Event()
        self._lost = lost
        self._failing = failing

    async def renew(self, leases: Sequence[Lease]) -> list[bool]:
        self.asked.append(list(leases))
        await asyncio.sleep(0.005)
        if len(self.asked) >= self.wanted:
            self.reached.set()
        if self._failing:
            raise StoreUnavailable("away")
        return [lease not in self._lost for lease in leases]

    async def until(self, calls: int) -> None:
        """Waits until so many calls were made."""
        self.wanted = calls
        self.reached.clear()
        async with asyncio.timeout(20):
            while len(self.asked) < calls:
                await self.reached.wait()


def leases(store: Renewals) -> Leases:
    return Leases(store, every_s=0.01)  # type: ignore[arg-type]


async def test_all_leases_are_renewed_in_one_call_until_the_end_of_their_bodies() -> None:
    store = Renewals()
    held = leases(store)
    with held.kept(LEASE):
        with held.kept(OTHER):
            await store.until(2)
        assert [LEASE, OTHER] in store.asked
        await store.until(len(store.asked) + 2)
    await held.drain()
    count = len(store.asked)
    assert store.asked[-2] == [LEASE]
    await asyncio.sleep(0.05)
    assert len(store.asked) == count
    with held.kept(OTHER):
        await store.until(count + 1)
    assert store.asked[count] == [OTHER]
    await held.drain()


async def test_a_lost_lease_is_not_renewed_again() -> None:
    store = Renewals(lost=[LEASE])
    held = leases(store)
    with held.kept(LEASE), held.kept(OTHER):
        await store.until(4)
    await held.drain()
    assert [LEASE in asked for asked in store.asked[:4]] == [True, False, False, False]
    assert all(OTHER in asked for asked in store.asked[:4])


async def test_a_store_that_is_away_is_asked_again() -> None:
    store = Renewals(failing=True)
    held = leases(store)
    with held.kept(LEASE):
        await store.until(3)
    await held.drain()


async def test_the_bodys_own_error_comes_out() -> None:
    store = Renewals()
    held = leases(store)
    with pytest.raises(ValueError, match="mine"), held.kept(LEASE):
        raise ValueError("mine")
    async with asyncio.timeout(20):
        await held.drain()


async def test_to_drain_what_never_held_a_lease_ends_at_once() -> None:
    await leases(Renewals()).drain()
