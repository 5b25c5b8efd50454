"""Puts the service together: the only place that names concrete classes.

The web application and the batch job stand on the same parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles import prompts
from services.profiles.api.health import Dependency
from services.profiles.api.state import Parts
from services.profiles.budget import tokenizer_counter, utf8_length
from services.profiles.generators.vocabulary import lone_spaces
from services.profiles.identity import adapter_component, model_component
from services.profiles.models import ProfileVersion
from services.profiles.reading import Reader
from services.profiles.service import ProfileService
from services.profiles.stores.redis_catalogue import RedisCatalogue
from services.profiles.stores.redis_client import RedisClient
from services.profiles.stores.redis_profiles import RedisProfiles
from services.profiles.writing import Writer

if TYPE_CHECKING:
    import contextlib

    from services.profiles.encoders.base import Encoder
    from services.profiles.generators.base import Generator
    from services.profiles.settings import Settings
    from services.profiles.telemetry import Metrics


async def assemble(settings: Settings, metrics: Metrics, stack: contextlib.AsyncExitStack) -> Parts:
    """Makes the parts; the stack closes them, the last made first.

    Raises:
        ValueError: A setting is missing that another one asks for.
        EncoderUnavailable: The encoder's folder does not hold one.
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
    encoder = _encoder(settings, metrics)
    stack.push_async_callback(encoder.aclose)
    generator = _generator(settings)
    stack.push_async_callback(generator.aclose)

    examples = settings.adapter is None
    version = ProfileVersion(
        base_model=model_component(settings.model, settings.model_path),
        adapter=adapter_component(settings.adapter, settings.adapter_hash),
        prompt=prompts.component(examples=examples),
        encoder=encoder.component,
    )
    count = tokenizer_counter(settings.model_path) if settings.model_path else utf8_length
    service = ProfileService(
        store=store,
        reader=Reader(
            catalogue=catalogue,
            tenant=settings.tenant,
            count=count,
            history_tokens=settings.history_tokens,
        ),
        writer=Writer(
            generator=generator,
            encoder=encoder,
            version=version,
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
    stack.push_async_callback(service.drain, settings.drain_s)
    return Parts(
        settings=settings,
        profiles=service,
        catalogue=catalogue,
        metrics=metrics,
        dependencies=(
            Dependency("redis", store.ping, vital=True),
            Dependency("model", generator.check, vital=False),
            Dependency("encoder", encoder.check, vital=False),
        ),
    )


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
