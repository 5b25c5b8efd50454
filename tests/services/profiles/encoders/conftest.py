import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.assets.catalogue import MINILM, MINILM_INT8
from services.assets.fetch import get_model
from services.profiles.encoders.onnx import OnnxEncoder
from tests.services.profiles.encoders.server import EmbeddingsServer

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="session")
def float_folder() -> Path:
    return get_model(MINILM)


@pytest.fixture(scope="session")
def int8_folder() -> Path:
    return get_model(MINILM_INT8)


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs coroutines on one event loop, as an application does."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def server(int8_folder: Path) -> Iterator[EmbeddingsServer]:
    served = EmbeddingsServer(OnnxEncoder(int8_folder))
    yield served
    served.close()
