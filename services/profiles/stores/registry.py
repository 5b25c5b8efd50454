"""The stores there are, by the setting RECLM_STORE."""

from __future__ import annotations

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
