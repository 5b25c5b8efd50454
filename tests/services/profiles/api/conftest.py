"""Applications in this process on a real Redis and the real encoder, with bundles by hand."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import SecretStr

from services.common.manifests import content_hash
from services.profiles.settings import Settings
from tests.support.asgi import running
from tests.support.bundles import little, seen
from tests.support.model_server import MODEL, ModelServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx

    from tests.support.bundles import Made
    from tests.support.servers import RedisServer

    Start = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """A loop for a module: an application starts in a second, and answers in milliseconds."""
    return "asyncio"


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def model(model_server: ModelServer) -> Iterator[ModelServer]:
    """The model server, well and without a memory; whatever a test does to it ends with it."""
    model_server.requests.clear()
    yield model_server
    model_server.status = 200
    model_server.hanging = False
    model_server.free.set()


@pytest.fixture(scope="module")
def settings(
    redis_server: RedisServer,
    model_server: ModelServer,
    encoder_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    return Settings(
        tenant=secrets.token_hex(6),
        redis_url=SecretStr(redis_server.url),
        vllm_url=model_server.url,
        model=MODEL,
        encoder_path=encoder_folder,
        bundles=tmp_path_factory.mktemp("bundles"),
        scorer_poll_s=0.1,
        drain_s=0.1,
        log_level="warning",
    )


@pytest.fixture(scope="module")
def start(settings: Settings) -> Start:
    """Starts one more worker."""
    return lambda: running(settings)


@pytest.fixture(scope="module")
async def api(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(start())


@pytest.fixture(scope="module")
def encoder(encoder_folder: Path) -> dict[str, str]:
    return {"name": encoder_folder.name, "hash": content_hash(encoder_folder, "model.onnx")}


@pytest.fixture(scope="module")
def made(encoder: dict[str, str]) -> Made:
    """The little bundle, for the service's encoder; training knew `regular` just as `known`."""
    bundle = little(encoder=encoder)
    bundle.user_ids.append("regular")
    vectors = bundle.arrays["user_vectors"]
    bundle.arrays |= {"user_vectors": np.concatenate([vectors, vectors]), **seen([[0], [0]])}
    return bundle
