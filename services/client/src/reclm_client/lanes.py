"""What differs between the two clients beyond `async` and `await`: tasks and queues, or threads.

The blocking client is generated from the asynchronous one (services/client/generate.py), which
takes each name that begins with `Async` or `async_` from here to its plain twin.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing, closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

T = TypeVar("T")

AsyncSource = Iterable[T] | AsyncIterable[T]
Source = Iterable[T]
async_pause = asyncio.sleep
pause = time.sleep

each = iter


async def async_each(rows: AsyncSource[T]) -> AsyncIterator[T]:
    """Yields rows, wherever they come from."""
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row


class _End:
    """The end of a lane's rows in its queue, with what went wrong."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure


class AsyncLanes(Generic[T]):
    """Runs generators side by side as tasks; whoever leaves the context cancels them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, rows: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        """Runs a generator from now on. Returns its rows, and after them raises what it raised."""
        queue: asyncio.Queue[T | _End] = asyncio.Queue()
        task = asyncio.create_task(self._run(rows, queue))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)
        return self._rows(queue)

    pause = staticmethod(asyncio.sleep)

    async def _run(self, rows: AsyncGenerator[T, None], queue: asyncio.Queue[T | _End]) -> None:
        try:
            async with aclosing(rows):
                async for row in rows:
                    queue.put_nowait(row)
        except Exception as failure:  # noqa: BLE001 - raised again where the rows are read
            queue.put_nowait(_End(failure))
        else:
            queue.put_nowait(_End())

    async def _rows(self, queue: asyncio.Queue[T | _End]) -> AsyncIterator[T]:
        while not isinstance(got := await queue.get(), _End):
            yield got
        if got.failure is not None:
            raise got.failure


class _Left(Exception):
    """The context that a lane belongs to was left."""


class Lanes(Generic[T]):
    """Runs generators side by side in threads; whoever leaves the context waits for none of them.

    A caller that stops early must not wait for answers that nobody reads any more: a lane ends by
    itself with its next row or pause.
    """

    def __init__(self) -> None:
        self._left = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._left.set()

    def start(self, rows: Generator[T, None, None]) -> Iterator[T]:
        """Runs a generator from now on. Returns its rows, and after them raises what it raised."""
        queue: SimpleQueue[T | _End] = SimpleQueue()
        threading.Thread(target=self._run, args=(rows, queue), name="reclm-batch").start()
        return self._rows(queue)

    def pause(self, delay_s: float) -> None:
        """Waits inside a lane, for as long as somebody wants its rows."""
        if self._left.wait(delay_s):
            raise _Left

    def _run(self, rows: Generator[T, None, None], queue: SimpleQueue[T | _End]) -> None:
        try:
            with closing(rows):
                for row in rows:
                    queue.put(row)
                    if self._left.is_set():
                        return
        except BaseException as failure:  # noqa: BLE001 - raised again where the rows are read
            queue.put(_End(failure))
        else:
            queue.put(_End())

    def _rows(self, queue: SimpleQueue[T | _End]) -> Iterator[T]:
        while not isinstance(got := queue.get(), _End):
            yield got
        if got.failure is not None:
            raise got.failure
