"""The async client behind the sync one's interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from reclm_client import AsyncReclmClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Blocking:
    """The async client driven from plain code, so that one suite reads the same for both."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncReclmClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            return (
                self._drain(result)
                if isinstance(result, AsyncGenerator)
                else self._runner.run(result)
            )

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
