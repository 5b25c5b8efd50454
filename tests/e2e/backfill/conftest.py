"""The stack that the jobs run on, and their inputs."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import httpx
import pyarrow.parquet as pq
import pytest

from recommenders.data.readers.movielens import fetch_ml_100k
from tests.e2e.backfill.inputs import (
    ITEMS,
    NEW,
    USERS,
    Few,
    Filled,
    choices,
    make_known,
    write_interactions,
)
from tests.e2e.backfill.jobs import Stack, backfill, begun, kill, over
from tests.support.proxy import Proxy
from tests.support.ray_cluster import RayCluster, ray_cluster
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recommenders.data.dataset import Dataset


@pytest.fixture(scope="package")
def stack(
    service_env: dict[str, str], vllm_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("backfill")
    redis = RedisServer(folder, persistent=True)
    redis.start()
    model = Proxy(httpx.URL(vllm_url).port or 80)
    env = {
        **service_env,
        "RECLM_REDIS_URL": redis.url,
        "RECLM_VLLM_URL": f"http://127.0.0.1:{model.port}",
        # Redis writes every change to the disk here, and a disk may stand still for a while.
        "RECLM_LEASE_S": "15",
    }
    service = Service(folder, workers=2, env=env)
    service.start()
    yield Stack(redis, model, service, env)
    service.process.stop()
    model.close()
    redis.process.stop()


@pytest.fixture(scope="package")
def dataset() -> Dataset:
    return fetch_ml_100k()


@pytest.fixture(scope="package")
def films(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "items.parquet"
    pq.write_table(dataset.items, path)
    return path


@pytest.fixture(scope="package")
def cluster() -> Iterator[RayCluster]:
    """Two nodes that run partitions, and a head that runs none."""
    with ray_cluster(workers=2) as cluster:
        yield cluster


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest, stack: Stack) -> list[str]:
    """The arguments for either engine."""
    if request.param == "local":
        return []
    cluster: RayCluster = request.getfixturevalue("cluster")
    stack.env.update(cluster.env)
    return over(cluster)


@pytest.fixture(scope="package")
def filled(
    stack: Stack, dataset: Dataset, films: Path, tmp_path_factory: pytest.TempPathFactory
) -> Filled:
    folder = tmp_path_factory.mktemp("filled")
    interactions = folder / "interactions.parquet"
    ids = write_interactions(dataset, interactions, USERS)
    shuffled = random.Random(0)
    make_known(stack, dataset, shuffled.sample(ids, USERS - NEW))
    out = folder / "out"
    for _ in range(10):
        with begun(stack, out, "--interactions", interactions, "--items", films) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(shuffled.uniform(0.5, 8))
            kill(process)
        for part in out.glob("part-*.parquet"):
            pq.read_table(part)  # whole, wherever the job was
    calls = stack.calls()
    summary = backfill(stack, out, "--interactions", interactions, "--items", films)
    assert (summary["status"], summary["rows"]) == ("complete", USERS)
    assert stack.calls() > calls
    return Filled(out, interactions, ids)


@pytest.fixture
def few(tmp_path: Path, request: pytest.FixtureRequest) -> Few:
    folder = tmp_path / "few"
    folder.mkdir()
    ids = [f"{request.node.name} {number:02}" for number in range(12)]
    few = Few(folder, folder / "interactions.ndjson", folder / "items.ndjson", ids)
    few.write(choices(ids), ITEMS)
    return few
