"""The stores there are, by the setting RECLM_STORE."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from services.profiles.stores.memory.stores import open_memory_stores
from services.profiles.stores.redis.stores import open_redis_stores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.profiles.settings import Settings, StoreName
    from services.profiles.stores.base import Stores

STORES: Mapping[StoreName, Callable[[Settings], Stores]] = {
    "memory": open_memory_stores,
    "redis": open_redis_stores,
}


async def fault_of(settings: Settings) -> str | None:
    """Returns what must be changed before the store of the settings can serve; None for nothing.

    Raises:
        StoreUnavailable: The store cannot be asked now.
    """
    try:
        stores = STORES[settings.store](settings)
    except ValueError as error:
        return str(error)
    async with contextlib.aclosing(stores):
        return await stores.fault()
