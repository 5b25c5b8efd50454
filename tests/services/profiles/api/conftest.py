"""Applications in this process on a real Redis and the real encoder, with bundles by hand."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from services.assets.manifest import content_hash
from services.profiles.settings import Settings
from tests.support.asgi import running
from tests.support.bundles import little
from tests.support.model_server import MODEL, ModelServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx

    from tests.support.bundles import Made
    from tests.support.servers import RedisServer

    Start = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def settings(
    redis_server: RedisServer, model: ModelServer, encoder_folder: Path, tmp_path: Path
) -> Settings:
    return Settings(
        tenant=secrets.token_hex(6),
        redis_url=SecretStr(redis_server.url),
        vllm_url=model.url,
        model=MODEL,
        encoder_path=encoder_folder,
        bundles=tmp_path / "bundles",
        scorer_poll_s=0.1,
        log_level="warning",
    )


@pytest.fixture
def start(settings: Settings) -> Start:
    """Starts one more worker."""
    return lambda: running(settings)


@pytest.fixture
async def api(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(start())


@pytest.fixture
def encoder(encoder_folder: Path) -> dict[str, str]:
    return {"name": encoder_folder.name, "hash": content_hash(encoder_folder, "model.onnx")}


@pytest.fixture
def made(encoder: dict[str, str]) -> Made:
    """The little bundle, for the service's encoder."""
    return little(encoder=encoder)
