"""Processes over stores in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.services.profiles.cache.processes import BABE, HEAT, TENANT, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.stores.catalogue.put_items(TENANT, [HEAT, BABE])
    yield world
    world.store.free.set()
    for process in world.processes:
        process.model.free.set()
        process.encoder.free.set()
        await process.service.drain(10)
