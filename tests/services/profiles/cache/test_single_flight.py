"""Leases are renewed while they are needed, and no longer, whatever the store's client does."""

from __future__ import annotations

import asyncio

import pytest

from services.profiles.cache.single_flight import renewed
from services.profiles.domain.profile import ProfileKey
from services.profiles.errors import StoreUnavailable
from services.profiles.stores.base import Lease

pytestmark = pytest.mark.anyio

LEASE = Lease(ProfileKey("t", "user", "a"), b"token")


class Renewals:
    """A store that counts renewals, each of which takes a while."""

    def __init__(self, *, answer: bool = True, deaf: bool = False, failing: bool = False) -> None:
        self.count = 0
        self._answer = answer
        self._deaf = deaf
        self._failing = failing

    async def renew(self, lease: Lease) -> bool:
        self.count += 1
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            if not self._deaf:
                raise
        if self._failing:
            raise StoreUnavailable("away")
        return self._answer


async def test_a_lease_is_renewed_until_the_end_of_the_body() -> None:
    store = Renewals()
    async with renewed(store, LEASE, 0.01):  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
    count = store.count
    assert count >= 2
    await asyncio.sleep(0.1)
    assert store.count == count


@pytest.mark.parametrize("wait", [0.012, 0.02, 0.028])
async def test_a_client_that_loses_cancellations_holds_nobody_up(wait: float) -> None:
    store = Renewals(deaf=True)
    async with asyncio.timeout(5):
        async with renewed(store, LEASE, 0.01):  # type: ignore[arg-type]
            await asyncio.sleep(wait)
    count = store.count
    await asyncio.sleep(0.1)
    assert store.count == count


async def test_a_lost_lease_is_not_renewed_again() -> None:
    store = Renewals(answer=False)
    async with renewed(store, LEASE, 0.01):  # type: ignore[arg-type]
        await asyncio.sleep(0.15)
    assert store.count == 1


async def test_a_store_that_is_away_is_asked_again() -> None:
    store = Renewals(failing=True)
    async with renewed(store, LEASE, 0.01):  # type: ignore[arg-type]
        await asyncio.sleep(0.15)
    assert store.count >= 2


async def test_the_bodys_own_error_comes_out() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with renewed(Renewals(), LEASE, 0.01):  # type: ignore[arg-type]
            raise ValueError("mine")
