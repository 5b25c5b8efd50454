from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reclm_client import ReclmClient, Retries
from tests.services.client.server import Server, running
from tests.support.blocking import Blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Retries(attempts=3, backoff_s=0.001)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(params=[ReclmClient, Blocking], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest, server: Server) -> Iterator[Callable[..., Any]]:
    """Makes clients of the test's server and closes them."""
    made: list[Any] = []

    def connect(**options: Any) -> Any:
        base_url = options.pop("base_url", server.url)
        made.append(request.param(base_url, **{"retries": QUICK, **options}))
        return made[-1]

    yield connect
    for client in made:
        client.close()
