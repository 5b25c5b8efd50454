"""Collects the texts of concurrent calls into batches.

A model computes 32 texts in little more time than one. While a batch is computed, the next one is
collected. So batches grow with the load, and a single call is never delayed to fill a batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from services.profiles.errors import EncoderUnavailable, InvalidInput, ReclmError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]


class _Call:
    """One call's texts, the rows computed so far, and the future its caller waits for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.rows: list[Rows | None] = [None] * len(texts)
        self.taken = 0
        self.missing = len(texts)
        self.done: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()

    def accept(self, index: int, row: Rows) -> None:
        self.rows[index] = row
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(np.stack([row for row in self.rows if row is not None]))

    def fail(self, error: ReclmError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Batcher:
    """Collects texts and computes them in batches.

    Calls take turns, a text each, so that a call with thousands of texts does not delay a call with
    one. When a caller is cancelled, its waiting texts are dropped, and other calls are not affected.
    When a batch fails, the calls that have texts in it fail.
    """

    def __init__(
        self,
        compute: Callable[[list[str]], Awaitable[Rows]],
        *,
        max_batch: int,
        concurrency: int,
        on_batch: Callable[[int], None] | None,
    ) -> None:
        """Creates a batcher.

        Args:
            compute: Turns texts into rows, shape (len(texts), dimension), in order.
            max_batch: The most texts handed to `compute` at once.
            concurrency: How many batches may be under way at once.
            on_batch: Called with the size of each batch.
        """
        self._compute = compute
        self._max_batch = max_batch
        self._concurrency = concurrency
        self._on_batch = on_batch
        self._calls: deque[_Call] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def encode(self, texts: Sequence[str]) -> Rows:
        """Returns the rows of `texts`, which must not be empty, in order.

        Raises:
            InvalidInput: A text holds a lone surrogate, which no encoder can read.
            EncoderUnavailable: The batcher is closed, or `compute` failed.
        """
        if self._closed:
            raise EncoderUnavailable("the encoder is closed")
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidInput(f"text {index} to encode has a lone surrogate") from error
        call = _Call(texts)
        self._calls.append(call)
        # Not at once: calls made in the same turn of the loop go out together.
        asyncio.get_running_loop().call_soon(self._start)
        return await call.done

    async def aclose(self) -> None:
        """Refuses new calls, fails those that wait, and lets batches under way finish."""
        self._closed = True
        while self._calls:
            self._calls.popleft().fail(EncoderUnavailable("the encoder is closing"))
        if self._running:
            await asyncio.wait(self._running)

    def _start(self) -> None:
        while len(self._running) < self._concurrency:
            batch = self._take()
            if not batch:
                return
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _take(self) -> list[tuple[_Call, int]]:
        batch: list[tuple[_Call, int]] = []
        while self._calls and len(batch) < self._max_batch:
            call = self._calls.popleft()
            if call.done.done():  # cancelled, or failed in an earlier batch
                continue
            batch.append((call, call.taken))
            call.taken += 1
            if call.taken < len(call.texts):
                self._calls.append(call)
        return batch

    async def _run(self, batch: list[tuple[_Call, int]]) -> None:
        try:
            if self._on_batch is not None:
                self._on_batch(len(batch))
            rows = await self._compute([call.texts[index] for call, index in batch])
            for (call, index), row in zip(batch, rows, strict=True):
                call.accept(index, row)
        except Exception as error:  # noqa: BLE001 - each waiting call must hear of it, whatever it is
            for call, _ in batch:
                # One exception a caller: a shared one would gather all their tracebacks.
                failure = _copy(error)
                failure.__cause__ = error
                call.fail(failure)


def _copy(error: Exception) -> EncoderUnavailable:
    """Returns an exception that tells a caller of the failure of its batch."""
    if not isinstance(error, ReclmError):
        return EncoderUnavailable("the encoder failed")
    kind = type(error) if isinstance(error, EncoderUnavailable) else EncoderUnavailable
    failure = kind(error.detail)
    failure.retry_after = error.retry_after
    return failure
