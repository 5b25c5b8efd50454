"""Workers that share a tenant of the real Redis."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.cache.catalogue_changes import CatalogueChanges
from services.profiles.cache.service import ProfileService
from services.profiles.cache.versions import Versions
from services.profiles.generation.profile_generator import ProfileGenerator
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import utf8_length
from services.profiles.refresh.recorder import Recorder
from services.profiles.refresh.worker import Refresher
from services.profiles.settings import Settings
from services.profiles.stores.redis.catalogue import RedisCatalogue
from services.profiles.stores.redis.stores import open_redis_stores
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
        settings = Settings(
            redis_url=redis_server.url,
            redis_timeout_s=5,
            redis_connections=8,
            lease_s=LEASE_S,
            max_interactions=10,
            profile_ttl_s=60,
            refresh_quiet_s=0.1,
            refresh_max_wait_s=0.3,
        )
        stores = open_redis_stores(settings)
        store = LosingProfiles(stores.client, lease_s=LEASE_S)
        stores = replace(stores, profiles=store)
        metrics = Metrics()
        generator = Generator()
        profiles = ProfileService(
            stores=stores,
            history_limit=10,
            prompts=PromptBuilder(
                catalogue=stores.catalogue, tenant=tenant, count=utf8_length, history_tokens=500
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
            versions=Versions(store=store, tenant=tenant, own=VERSION),
            changes=CatalogueChanges(catalogue=stores.catalogue, tenant=tenant, poll_s=1),
            stale_max_age_s=60,
            ttl_s=60,
            lease_s=LEASE_S,
            generation_timeout_s=60,
            max_concurrent=4,
            max_waiting=16,
            metrics=metrics,
        )
        worker = Worker(
            tenant=tenant,
            client=stores.client,
            generator=generator,
            store=store,
            interactions=stores.interactions,
            refreshes=stores.refreshes,
            profiles=profiles,
            recorder=Recorder(
                profiles=store,
                catalogue=stores.catalogue,
                interactions=stores.interactions,
                refreshes=stores.refreshes,
                tenant=tenant,
                cap=10,
                metrics=metrics,
            ),
            refresher=Refresher(
                profiles=profiles,
                interactions=stores.interactions,
                refreshes=stores.refreshes,
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
