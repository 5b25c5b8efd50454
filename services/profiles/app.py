"""The application: the parts of `assembly` behind the endpoints of `api`."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.profiles.access.keyring import Keyring
from services.profiles.api import (
    access,
    documents,
    health,
    interactions,
    items,
    problems,
    profiles,
    schemas,
    scorers,
    scoring,
)
from services.profiles.api.direct import Direct
from services.profiles.api.middleware import Observe
from services.profiles.container import assemble
from services.profiles.domain.profile import PHRASES
from services.profiles.garbage import settle
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics, configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            parts = app.state.parts = await assemble(settings, metrics, stack)
            await stack.enter_async_context(parts.scorers.following())
            parts.refresher.start()
            settle()
            yield

    app = FastAPI(title="RecLM", version="0.1.0", description=_DESCRIPTION, lifespan=lifespan)
    app.state.metrics = metrics
    problems.install(app)
    for router in (
        profiles.routes("user"),
        profiles.routes("item"),
        items.router,
        scoring.router,
        scorers.router,
        interactions.router,
        health.router,
    ):
        app.include_router(router)
    app.openapi = lambda: _openapi(app, keys)  # type: ignore[method-assign]
    direct = Direct(
        app,
        endpoints={
            **{f"/profiles/{kind}": partial(profiles.answer_profile, kind) for kind in PHRASES},
            "/score": scoring.answer_score,
        },
    )
    guarded = access.RequireKey(direct, owner=app, keys=keys) if keys else direct
    return Observe(guarded, metrics=metrics, access_log=settings.access_log)


def _openapi(app: FastAPI, keys: Keyring) -> dict[str, Any]:
    """Returns FastAPI's schema with the models of bodies that endpoints read themselves."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        known = schema.setdefault("components", {}).setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            known.pop(unused, None)
        known.update(
            schemas.json_schema_of(
                problems.Problem,
                schemas.ProfileBody,
                schemas.ItemProfileBody,
                schemas.EmbeddingsBody,
                documents.EmbeddingsDocument,
                schemas.ScoreBody,
                schemas.CatalogueItem,
                schemas.EventsBody,
                schemas.ItemText,
                documents.RowDocument,
            )
        )
        if keys:
            access.document(schema, keys)
        app.openapi_schema = schema
    return app.openapi_schema
