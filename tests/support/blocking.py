"""The async client behind the sync one's interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from reclm_client import AsyncReclmClient, AsyncRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Rows:
    """The answers to a batch, as the blocking client gives them."""

    def __init__(self, runner: asyncio.Runner, rows: AsyncRows[Any], drained: Any) -> None:
        self._runner = runner
        self._rows = rows
        self._drained = drained
        self.close = drained.close

    def __iter__(self) -> Iterator[Any]:
        return self._drained  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return next(self._drained)

    def to_pandas(self) -> Any:
        return self._runner.run(self._rows.to_pandas())


class Blocking:
    """The async client with blocking methods, so that one suite tests both clients."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncReclmClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            if isinstance(result, AsyncRows):
                return _Rows(self._runner, result, self._drain(result))
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
