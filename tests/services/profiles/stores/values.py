"""Values as the stores of profiles take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.profiles.domain.profile import Component, Profile, ProfileText, ProfileVersion
from services.profiles.stores import codec

if TYPE_CHECKING:
    from services.profiles.domain.profile import ProfileKey
    from services.profiles.stores.base import Lease, ProfileStore


def version(name: str) -> ProfileVersion:
    """Returns a version whose base model has a name."""
    part = Component("part", "1")
    return ProfileVersion(Component(name, "1"), None, part, part)


VERSION = version("llama")


def value(
    name: str, *, epoch: int = 0, made_with: ProfileVersion = VERSION, created_ms: int = 1
) -> bytes:
    """Returns a profile that differs from those of other names."""
    return codec.encode(
        Profile(
            id=name,
            words=ProfileText("user", (), ()),
            vector=np.zeros(1, np.float16),
            version_digest=made_with.digest(),
            input_hash=bytes(16),
            request_digest=bytes(8),
            created_ms=created_ms,
        ),
        epoch=epoch,
    )


async def leased(store: ProfileStore, key: ProfileKey) -> Lease:
    """Takes the lease of a profile."""
    claim = await store.acquire(key)
    assert claim.lease is not None
    return claim.lease


async def stored(
    store: ProfileStore, key: ProfileKey, name: str = "value", *, ttl_s: int = 60
) -> bytes:
    """Stores a profile as one who knows of all erasures, and returns it."""
    written = value(name, epoch=codec.epoch_of(await store.get(key)))
    lease = await leased(store, key)
    assert await store.commit(lease, written, ttl_s=ttl_s, version=VERSION) == "stored"
    return written
