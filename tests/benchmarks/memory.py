"""Memory: what Redis needs for a profile, with all that is kept beside it.

The words are those of real profiles; ids are random UUIDs and vectors random, so that no two
profiles are alike. Each is stored as the service does it: lease, codec, version, time to live.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
import uuid
from typing import TYPE_CHECKING

import numpy as np

from reclm_client import ReclmClient
from services.profiles.domain.profile import (
    Component,
    Profile,
    ProfileKey,
    ProfileText,
    ProfileVersion,
)
from services.profiles.settings import Settings
from services.profiles.stores import codec
from services.profiles.stores.item_changes import MARK_BYTES
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.profiles import RedisProfiles
from tests.benchmarks.figures import Figure, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    import reclm_client as client
    from tests.benchmarks.stack import Stack

_PROFILES = 100_000
_REAL = 200
_CONNECTIONS = 32
_ITEMS = 30
"""Items that each profile was made from: a long history."""


def measure(stack: Stack) -> list[Figure]:
    users = stack.profiled(_REAL)
    with ReclmClient(stack.service.url) as http:
        real = [http.get_profile("user", user.id, embedding=True) for user in users]
    redis = stack.new_redis("memory")
    with redis.client() as info:
        before = int(info.info("memory")["used_memory"])
        sizes = asyncio.run(_fill(redis.url, real))
        # Connections that have just closed are freed in Redis' next turn.
        time.sleep(1)
        memory = info.info("memory")
        stored = info.dbsize()
    if stored != _PROFILES + 2:
        raise RuntimeError(f"Redis holds {stored} keys, not {_PROFILES}, versions and their order")
    each = (int(memory["used_memory"]) - before) / _PROFILES
    notes = {
        "profiles": _PROFILES,
        "real ones that lent their words": len(real),
        "items that each was made from": _ITEMS,
        "mean characters of text": round(statistics.mean(len(one.text) for one in real)),
        "mean bytes of a value": round(statistics.mean(sizes)),
        "vector": f"{len(real[0].embedding or ())} x float16",
        "allocator": memory["mem_allocator"],
    }
    return [Figure("redis.bytes_per_profile", each, "bytes", at_most(1_500), notes)]


async def _fill(url: str, real: list[client.Profile]) -> list[int]:
    """Stores the profiles; returns the size of each value."""
    redis = RedisClient(url=url, timeout_s=10, connections=_CONNECTIONS)
    store = RedisProfiles(redis, lease_s=10)
    version = _version(real[0])
    profiles = _profiles(real, version.digest())
    ttl_s = Settings().profile_ttl_s
    sizes = []

    async def one_after_another() -> None:
        for profile in profiles:
            claim = await store.acquire(ProfileKey("default", "user", profile.id))
            assert claim.lease is not None
            value = codec.encode(profile)
            assert await store.commit(claim.lease, value, ttl_s=ttl_s, version=version)
            sizes.append(len(value))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(one_after_another())
    finally:
        await redis.aclose()
    return sizes


def _profiles(real: list[client.Profile], version_digest: bytes) -> Iterator[Profile]:
    bits, numbers = random.Random(0), np.random.default_rng(0)
    dimension = len(real[0].embedding or ())
    for number in range(_PROFILES):
        model = real[number % len(real)]
        vector = numbers.standard_normal(dimension)
        yield Profile(
            id=str(uuid.UUID(int=bits.getrandbits(128), version=4)),
            words=ProfileText("user", model.identities, model.interests),
            vector=(vector / np.linalg.norm(vector)).astype(np.float16),
            version_digest=version_digest,
            input_hash=bits.randbytes(16),
            request_digest=bits.randbytes(8),
            created_ms=time.time_ns() // 1_000_000,
            stamp=time.time_ns() // 1_000_000,
            marks=bits.randbytes(MARK_BYTES * _ITEMS),
        )


def _version(profile: client.Profile) -> ProfileVersion:
    parts = profile.version
    return ProfileVersion(
        base_model=_component(parts.base_model),
        adapter=None if parts.adapter is None else _component(parts.adapter),
        prompt=_component(parts.prompt),
        encoder=_component(parts.encoder),
    )


def _component(part: client.Component) -> Component:
    return Component(part.name, part.hash)
