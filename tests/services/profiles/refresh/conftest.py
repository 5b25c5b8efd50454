"""Workers that share a tenant of the real Redis."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from services.profiles.cache.service import ProfileService
from services.profiles.generation.profile_generator import ProfileGenerator
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import utf8_length
from services.profiles.refresh.recorder import Recorder
from services.profiles.refresh.worker import Refresher
from services.profiles.stores.redis.catalogue import RedisCatalogue
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.interactions import RedisInteractions
from services.profiles.stores.redis.refreshes import RedisRefreshes
from services.profiles.telemetry import Metrics
from tests.services.profiles.refresh.worker import (
    FILMS,
    LEASE_S,
    Generator,
    LosingProfiles,
    Worker,
)
from tests.services.profiles.test_background import VERSION, OneVector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.servers import RedisServer


@pytest.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Callable[[], Worker]]:
    """Makes workers that share a tenant and nothing else."""
    tenant = secrets.token_hex(6)
    made: list[Worker] = []

    def make(*, attempts: int = 3) -> Worker:
        client = RedisClient(url=redis_server.url, timeout_s=5, connections=8)
        metrics = Metrics()
        generator = Generator()
        store = LosingProfiles(client, lease_s=LEASE_S)
        catalogue = RedisCatalogue(client)
        interactions = RedisInteractions(client, cap=10, ttl_s=60)
        refreshes = RedisRefreshes(client, quiet_s=0.1, max_wait_s=0.3, lease_s=LEASE_S)
        profiles = ProfileService(
            store=store,
            interactions=interactions,
            history_limit=10,
            prompts=PromptBuilder(
                catalogue=catalogue, tenant=tenant, count=utf8_length, history_tokens=500
            ),
            generator=ProfileGenerator(
                generator=generator,
                encoder=OneVector(),
                version=VERSION,
                prompt=CURRENT,
                count=utf8_length,
                examples=False,
                temperature=0.0,
                presence_penalty=0.0,
                frequency_penalty=0.0,
                metrics=metrics,
            ),
            version=VERSION,
            ttl_s=60,
            lease_s=LEASE_S,
            generation_timeout_s=60,
            max_concurrent=4,
            max_waiting=16,
            metrics=metrics,
        )
        worker = Worker(
            tenant=tenant,
            client=client,
            generator=generator,
            store=store,
            interactions=interactions,
            refreshes=refreshes,
            profiles=profiles,
            recorder=Recorder(
                catalogue=catalogue,
                interactions=interactions,
                refreshes=refreshes,
                tenant=tenant,
                cap=10,
                metrics=metrics,
            ),
            refresher=Refresher(
                profiles=profiles,
                interactions=interactions,
                refreshes=refreshes,
                metrics=metrics,
                tenant=tenant,
                worker=secrets.token_hex(4),
                history_limit=10,
                concurrency=4,
                attempts=attempts,
                poll_s=0.05,
                first_pause_s=0.7,
            ),
            metrics=metrics,
        )
        made.append(worker)
        return worker

    worker = make()
    await RedisCatalogue(worker.client).put_items(tenant, FILMS)
    made.clear()
    yield make
    for one in [*made, worker]:
        one.generator.let.set()
        await one.refresher.drain(5)
        await one.profiles.drain(5)
        await one.client.aclose()
