from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from services.client import AsyncReclmClient, ReclmClient, Retries
from tests.services.client.server import Server, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Retries(attempts=3, backoff_s=0.001)


class Blocking:
    """The async client driven from plain code, so that one suite reads the same for both."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncReclmClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            return self._drain(result) if inspect.isasyncgen(result) else self._runner.run(result)

        return call

    def _drain(self, rows: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(rows, self)

        try:
            while (row := self._runner.run(following())) is not self:
                yield row
        finally:
            self._runner.run(rows.aclose())

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


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
