"""Fixtures for servers: started once a run, real, and stopped at the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from services.assets.fetch import get_model
from services.common.home import reclm_home
from tests.support.peak_memory import PeakMemory
from tests.support.scheduling import FileScheduling, needs_model
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "SmolLM2-135M-Instruct"

# How long an example takes depends on what else the machine does, so it is no reason to fail.
settings.register_profile("reclm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reclm")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(PeakMemory())
    if hasattr(config, "workerinput"):  # one of several processes, which share the cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need a server by the fixtures they use, and puts the longest chain first."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if "redis_server" in used:
            item.add_marker(pytest.mark.stack)
        if "vllm_url" in used:
            item.add_marker(pytest.mark.model)
    items.sort(key=lambda item: not needs_model(str(item.path)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Divides the tests in their order: the processes begin with the longest chain."""
    config.option.loadscopereorder = False
    return FileScheduling(config, log)


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The base model's folder, fetched if need be."""
    return get_model(MODEL, home=reclm_home())


@pytest.fixture(scope="session")
def encoder_folder() -> Path:
    """The int8 encoder's folder, fetched if need be."""
    return get_model("all-MiniLM-L6-v2-int8", home=reclm_home())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis, shared by the run: tests use ids or tenants of their own, and never flush."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real vLLM serving the real base model under its name; RECLM_TEST_VLLM_URL names another."""
    given = os.environ.get("RECLM_TEST_VLLM_URL")
    if given:
        yield given
        return
    from tests.support.vllm import VllmServer

    server = VllmServer(tmp_path_factory.mktemp("vllm"))
    server.start()
    yield server.url
    server.process.stop()


@pytest.fixture(scope="session")
def service_env(
    redis_server: RedisServer, model_folder: Path, encoder_folder: Path
) -> dict[str, str]:
    """Settings of a service on the shared Redis, all but the model server's address."""
    return {
        "RECLM_REDIS_URL": redis_server.url,
        "RECLM_MODEL": MODEL,
        "RECLM_MODEL_PATH": str(model_folder),
        "RECLM_ENCODER_PATH": str(encoder_folder),
    }


@pytest.fixture(scope="session")
def service(
    service_env: dict[str, str], vllm_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service with two workers on the whole real stack."""
    running = Service(
        tmp_path_factory.mktemp("service"),
        workers=2,
        env={
            **service_env,
            "RECLM_VLLM_URL": vllm_url,
            "RECLM_ACCESS_LOG": "true",
            # Tests in another process share the cores, and this one may stand still for seconds.
            "RECLM_LEASE_S": "15",
        },
    )
    running.start()
    yield running
    running.process.stop()
