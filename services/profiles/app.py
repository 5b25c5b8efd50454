"""The application: the parts of `container` behind the endpoints of `api`."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline

from reclm_client.version import __version__
from services.profiles.access.keyring import Keyring
from services.profiles.api import (
    access,
    embeddings,
    erasures,
    health,
    interactions,
    items,
    problems,
    profiles,
    scorers,
    scoring,
)
from services.profiles.api.connections import METRICS
from services.profiles.api.direct import Direct
from services.profiles.api.in_flight import InFlight
from services.profiles.api.middleware import Observe
from services.profiles.container import assemble
from services.profiles.domain.profile import PHRASES
from services.profiles.garbage import settle
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics, configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from starlette.types import ASGIApp


_DESCRIPTION = (
    "Short profiles of users and items, written by a language model from what little is known, "
    "with their embeddings: features for a recommender from the first click on."
)


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Returns the service as an ASGI application.

    Args:
        settings: Taken from the environment when not given, as in a uvicorn worker.
    """
    settings = settings or Settings()
    configure_logging(settings.log_level)
    keys = Keyring.of(settings)
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Metrics]]:
        async with contextlib.AsyncExitStack() as stack:
            parts = app.state.parts = await assemble(settings, metrics, stack)
            await stack.enter_async_context(parts.scorers.following())
            await stack.enter_async_context(parts.versions.following())
            await stack.enter_async_context(parts.changes.following())
            parts.refresher.start()
            settle()
            yield {METRICS: metrics}

    # As FastAPI, but /docs and /redoc load nothing from other hosts.
    app = FastAPIOffline(
        title="RecLM",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        static_url=access.ASSETS,
    )
    app.state.metrics = metrics
    in_flight = app.state.in_flight = InFlight(settings.max_bytes_in_flight)
    problems.install(app)
    for router in (
        profiles.batches,
        profiles.single,
        *(resource.of_kind(kind) for kind in PHRASES for resource in (profiles, embeddings)),
        items.batches,
        items.router,
        scoring.batches,
        scoring.router,
        scorers.router,
        erasures.router,
        interactions.router,
        health.router,
    ):
        app.include_router(router)
    app.openapi = lambda: _openapi(app, keys)  # type: ignore[method-assign]
    direct = Direct(
        app,
        endpoints={
            **{f"/profiles/{kind}": partial(profiles.direct, kind) for kind in PHRASES},
            "/score": scoring.direct,
        },
    )
    guarded = access.RequireKey(direct, owner=app, keys=keys) if keys else direct
    return Observe(guarded, metrics=metrics, in_flight=in_flight, access_log=settings.access_log)


def _openapi(app: FastAPI, keys: Keyring) -> dict[str, Any]:
    """Returns FastAPI's schema, with keys, and without the errors that FastAPI would answer with."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for unused in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(unused, None)
        for operation in (one for path in schema["paths"].values() for one in path.values()):
            refused = operation["responses"].get("422", {})
            if "application/json" in refused.get("content", {}):
                del operation["responses"]["422"]
        if keys:
            access.document(schema, keys)
        app.openapi_schema = schema
    return app.openapi_schema
