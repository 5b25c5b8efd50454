"""Puts the service together: opens what the settings name, and connects the parts.

The web application and the batch job use the same parts.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import TYPE_CHECKING

from services.common.home import reclm_home
from services.profiles.breaker import Breaker
from services.profiles.cache.catalogue_changes import CatalogueChanges
from services.profiles.cache.service import ProfileService
from services.profiles.cache.versions import Versions
from services.profiles.domain.model_identity import adapter_component, model_component
from services.profiles.domain.profile import ProfileVersion
from services.profiles.encoders.guarded import GuardedEncoder
from services.profiles.encoders.registry import ENCODERS
from services.profiles.errors import (
    EncoderRefused,
    EncoderUnavailable,
    ModelRefused,
    ModelUnavailable,
    ReclmError,
)
from services.profiles.generation.adapters import prompt_of_adapter, trained_prompt
from services.profiles.generation.profile_generator import ProfileGenerator
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import prompt_named
from services.profiles.generation.token_budget import tokenizer_counter, utf8_length
from services.profiles.generators.guarded import GuardedGenerator
from services.profiles.generators.registry import GENERATORS
from services.profiles.parts import Dependency, Parts
from services.profiles.refresh.recorder import Recorder
from services.profiles.refresh.worker import Refresher
from services.profiles.scoring.phrases import Phrases
from services.profiles.scoring.registry import Registry
from services.profiles.scoring.service import ScoringService
from services.profiles.stores.registry import STORES

if TYPE_CHECKING:
    import contextlib

    from services.profiles.generation.prompts.base import PromptVersion
    from services.profiles.settings import Settings
    from services.profiles.telemetry import Metrics


_POLL_S = 0.5
"""How often a worker looks for due refreshes."""


async def assemble(settings: Settings, metrics: Metrics, stack: contextlib.AsyncExitStack) -> Parts:
    """Makes the parts. None of them starts work in the background yet.

    Args:
        settings: What to open, and how.
        metrics: Where all parts count.
        stack: Closes the parts, the last one first.

    Raises:
        ValueError: A setting that another one needs is missing, there is no such prompt, or the
            adapter was trained with another one.
        EncoderUnavailable: The encoder's folder does not hold one.
        TokenizerError: The model's folder has no tokenizer.
    """
    prompt = _prompt(settings)
    stores = STORES[settings.store](settings)
    stack.push_async_callback(stores.aclose)
    before_encoder = _breaker("encoder", EncoderUnavailable, EncoderRefused, settings, metrics)
    encoder = GuardedEncoder(
        ENCODERS[settings.encoder](settings, metrics.encoder_batch.observe), before_encoder
    )
    stack.push_async_callback(encoder.aclose)
    before_model = _breaker("model", ModelUnavailable, ModelRefused, settings, metrics)
    generator = GuardedGenerator(GENERATORS[settings.generator](settings), before_model)
    stack.push_async_callback(generator.aclose)

    examples = settings.adapter is None
    version = ProfileVersion(
        base_model=model_component(settings.model, settings.model_path),
        adapter=adapter_component(settings.adapter, settings.adapter_hash),
        prompt=component(prompt, examples=examples),
        encoder=encoder.component,
    )
    versions = Versions(store=stores.profiles, tenant=settings.tenant, own=version)
    changes = CatalogueChanges(
        catalogue=stores.catalogue, tenant=settings.tenant, poll_s=settings.scorer_poll_s
    )
    count = tokenizer_counter(settings.model_path) if settings.model_path else utf8_length
    service = ProfileService(
        stores=stores,
        history_limit=settings.max_interactions,
        prompts=PromptBuilder(
            catalogue=stores.catalogue,
            tenant=settings.tenant,
            count=count,
            history_tokens=settings.history_tokens,
            stamp=lambda: changes.stamp,
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
            circuits=(before_model, before_encoder),
        ),
        versions=versions,
        changes=changes,
        ttl_s=settings.profile_ttl_s,
        stale_max_age_s=settings.stale_max_age_s,
        lease_s=settings.lease_s,
        generation_timeout_s=settings.generation_timeout_s,
        max_concurrent=settings.max_concurrent_generations,
        max_waiting=settings.max_waiting_generations,
        metrics=metrics,
    )
    scorers = Registry(
        folder=settings.bundles or reclm_home() / "bundles",
        store=stores.scorers,
        tenant=settings.tenant,
        version=version,
        encoder=encoder,
        poll_s=settings.scorer_poll_s,
    )
    scoring = ScoringService(
        registry=scorers,
        profiles=service,
        interactions=stores.interactions,
        erasures=stores.erasures,
        phrases=Phrases(encoder),
        tenant=settings.tenant,
        max_history=max(settings.max_history, settings.max_interactions),
        anonymous_ttl_s=settings.anonymous_ttl_s,
        threads=settings.score_threads,
        max_waiting=settings.max_waiting_scores,
        changes=changes,
        metrics=metrics,
    )
    stack.push_async_callback(scoring.aclose)
    refresher = Refresher(
        profiles=service,
        interactions=stores.interactions,
        refreshes=stores.refreshes,
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
        versions=versions,
        catalogue=stores.catalogue,
        changes=changes,
        erasures=stores.erasures,
        scoring=scoring,
        scorers=scorers,
        recorder=Recorder(
            profiles=stores.profiles,
            catalogue=stores.catalogue,
            interactions=stores.interactions,
            refreshes=stores.refreshes,
            tenant=settings.tenant,
            cap=settings.max_interactions,
            metrics=metrics,
        ),
        refresher=refresher,
        metrics=metrics,
        dependencies=(
            Dependency(settings.store, stores.profiles.ping, vital=True),
            Dependency("model", generator.check, vital=False),
            Dependency("encoder", encoder.check, vital=False),
            Dependency("scorer", scorers.check, vital=False),
        ),
    )


def _breaker(
    name: str,
    failing: type[ReclmError],
    refusing: type[ReclmError],
    settings: Settings,
    metrics: Metrics,
) -> Breaker:
    return Breaker(
        name,
        failing=failing,
        refusing=refusing,
        failures=settings.circuit_failures,
        longest_open_s=settings.circuit_open_s,
        metrics=metrics,
    )


def _prompt(settings: Settings) -> PromptVersion:
    """Returns the version of the prompt, checked against the adapter where its folder is known."""
    if settings.adapter is None or settings.adapter_path is None:
        return prompt_named(settings.prompt)
    trained = trained_prompt(settings.adapter_path)
    return prompt_of_adapter(settings.adapter, trained, settings.prompt)


async def _drain(service: ProfileService, refresher: Refresher, timeout_s: float) -> None:
    """Lets requests and refreshes finish, both within the same time."""
    await asyncio.gather(service.drain(timeout_s), refresher.drain(timeout_s))
