"""Puts the service together: the only place that names concrete classes.

The web application and the batch job stand on the same parts.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import TYPE_CHECKING

from services.assets.home import reclm_home
from services.profiles.api.health import Dependency
from services.profiles.api.state import Parts
from services.profiles.cache.service import ProfileService
from services.profiles.domain.model_identity import adapter_component, model_component
from services.profiles.domain.profile import ProfileVersion
from services.profiles.generation.profile_generator import ProfileGenerator
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import prompt_named
from services.profiles.generation.token_budget import tokenizer_counter, utf8_length
from services.profiles.generators.vocabulary import lone_spaces
from services.profiles.refresh.recorder import Recorder
from services.profiles.refresh.worker import Refresher
from services.profiles.scoring.phrases import Phrases
from services.profiles.scoring.registry import Registry
from services.profiles.scoring.service import ScoringService
from services.profiles.stores.redis.catalogue import RedisCatalogue
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.interactions import RedisInteractions
from services.profiles.stores.redis.profiles import RedisProfiles
from services.profiles.stores.redis.refreshes import RedisRefreshes
from services.profiles.stores.redis.scorers import RedisScorers

if TYPE_CHECKING:
    import contextlib

    from services.profiles.encoders.base import Encoder
    from services.profiles.generators.base import Generator
    from services.profiles.settings import Settings
    from services.profiles.telemetry import Metrics


_POLL_S = 0.5
"""How often a worker looks for refreshes that are due."""


async def assemble(settings: Settings, metrics: Metrics, stack: contextlib.AsyncExitStack) -> Parts:
    """Makes the parts; the stack closes them, the last made first. None works by itself yet.

    Raises:
        ValueError: A setting is missing that another one asks for.
        EncoderUnavailable: The encoder's folder does not hold one.
        AssetError: The model's folder has no tokenizer.
    """
    redis = RedisClient(
        url=settings.redis_url.get_secret_value(),
        password=settings.redis_password.get_secret_value() if settings.redis_password else None,
        timeout_s=settings.redis_timeout_s,
        connections=settings.redis_connections,
    )
    stack.push_async_callback(redis.aclose)
    store = RedisProfiles(redis, lease_s=settings.lease_s)
    catalogue = RedisCatalogue(redis)
    interactions = RedisInteractions(
        redis, cap=settings.max_interactions, ttl_s=settings.profile_ttl_s
    )
    refreshes = RedisRefreshes(
        redis,
        quiet_s=settings.refresh_quiet_s,
        max_wait_s=settings.refresh_max_wait_s,
        lease_s=settings.lease_s,
    )
    encoder = _encoder(settings, metrics)
    stack.push_async_callback(encoder.aclose)
    generator = _generator(settings)
    stack.push_async_callback(generator.aclose)

    prompt = prompt_named(settings.prompt)
    examples = settings.adapter is None
    version = ProfileVersion(
        base_model=model_component(settings.model, settings.model_path),
        adapter=adapter_component(settings.adapter, settings.adapter_hash),
        prompt=component(prompt, examples=examples),
        encoder=encoder.component,
    )
    count = tokenizer_counter(settings.model_path) if settings.model_path else utf8_length
    service = ProfileService(
        store=store,
        interactions=interactions,
        history_limit=settings.max_interactions,
        prompts=PromptBuilder(
            catalogue=catalogue,
            tenant=settings.tenant,
            count=count,
            history_tokens=settings.history_tokens,
        ),
        generator=ProfileGenerator(
            generator=generator,
            encoder=encoder,
            version=version,
            prompt=prompt,
            count=count,
            examples=examples,
            temperature=settings.temperature,
            presence_penalty=settings.presence_penalty,
            frequency_penalty=settings.frequency_penalty,
            metrics=metrics,
        ),
        version=version,
        ttl_s=settings.profile_ttl_s,
        lease_s=settings.lease_s,
        generation_timeout_s=settings.generation_timeout_s,
        max_concurrent=settings.max_concurrent_generations,
        max_waiting=settings.max_waiting_generations,
        metrics=metrics,
    )
    scorers = Registry(
        folder=settings.bundles or reclm_home() / "bundles",
        store=RedisScorers(redis),
        tenant=settings.tenant,
        version=version,
        poll_s=settings.scorer_poll_s,
    )
    scoring = ScoringService(
        registry=scorers,
        profiles=service,
        interactions=interactions,
        phrases=Phrases(encoder),
        tenant=settings.tenant,
        max_history=max(settings.max_history, settings.max_interactions),
        threads=settings.score_threads,
        max_waiting=settings.max_waiting_scores,
        metrics=metrics,
    )
    stack.push_async_callback(scoring.aclose)
    refresher = Refresher(
        profiles=service,
        interactions=interactions,
        refreshes=refreshes,
        metrics=metrics,
        tenant=settings.tenant,
        worker=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        history_limit=settings.max_interactions,
        concurrency=settings.refresh_concurrency,
        attempts=settings.refresh_attempts,
        poll_s=min(_POLL_S, settings.lease_s / 4),
    )
    stack.push_async_callback(_drain, service, refresher, settings.drain_s)
    return Parts(
        settings=settings,
        profiles=service,
        catalogue=catalogue,
        scoring=scoring,
        scorers=scorers,
        recorder=Recorder(
            catalogue=catalogue,
            interactions=interactions,
            refreshes=refreshes,
            tenant=settings.tenant,
            cap=settings.max_interactions,
            metrics=metrics,
        ),
        refresher=refresher,
        metrics=metrics,
        dependencies=(
            Dependency("redis", store.ping, vital=True),
            Dependency("model", generator.check, vital=False),
            Dependency("encoder", encoder.check, vital=False),
            Dependency("scorer", scorers.check, vital=False),
        ),
    )


async def _drain(service: ProfileService, refresher: Refresher, timeout_s: float) -> None:
    """Lets requests and refreshes finish, within the same time."""
    await asyncio.gather(service.drain(timeout_s), refresher.drain(timeout_s))


def _encoder(settings: Settings, metrics: Metrics) -> Encoder:
    if settings.encoder == "openai":
        from services.profiles.encoders.openai import OpenAIEncoder

        if settings.encoder_url is None:
            raise ValueError("RECLM_ENCODER=openai needs RECLM_ENCODER_URL")
        key = settings.encoder_api_key
        return OpenAIEncoder(
            url=settings.encoder_url,
            model=settings.encoder_model,
            api_key=key.get_secret_value() if key else None,
            timeout_s=settings.encoder_timeout_s,
            max_batch=settings.encoder_batch,
            on_batch=metrics.encoder_batch.observe,
        )
    from services.profiles.encoders.onnx import OnnxEncoder

    if settings.encoder_path is None:
        raise ValueError(
            "RECLM_ENCODER_PATH is not set: `reclm-serve models get all-MiniLM-L6-v2-int8` "
            "prints the folder to set it to"
        )
    return OnnxEncoder(
        settings.encoder_path,
        threads=settings.encoder_threads,
        max_batch=settings.encoder_batch,
        on_batch=metrics.encoder_batch.observe,
    )


def _generator(settings: Settings) -> Generator:
    if settings.generator == "local":
        from services.profiles.generators.local import LocalGenerator

        if settings.model_path is None:
            raise ValueError(
                "RECLM_GENERATOR=local needs RECLM_MODEL_PATH: `reclm-serve models get "
                "SmolLM2-135M-Instruct` prints the folder to set it to"
            )
        return LocalGenerator(folder=settings.model_path, timeout_s=settings.model_timeout_s)
    from services.profiles.generators.vllm import VllmGenerator

    key = settings.vllm_api_key
    return VllmGenerator(
        url=settings.vllm_url,
        model=settings.adapter or settings.model,
        api_key=key.get_secret_value() if key else None,
        timeout_s=settings.model_timeout_s,
        connections=settings.max_concurrent_generations,
        never=lone_spaces(settings.model_path) if settings.model_path else (),
    )
