"""Requests at a fixed rate, whether or not the ones before have been answered (an open loop).

A generator that waits for answers sends less when the server is slow, and does not see how long
the requests would have waited that it did not send. Times count from when a request was due.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONNECTIONS = 16
_PATIENCE_S = 10.0
_TIMER_S = 0.002
"""Timers of an event loop are late by up to a millisecond or so: the rest is waited for awake."""


def run(
    port: int, requests: Sequence[bytes], *, begins: bytes, rate: float, seconds: float
) -> list[float]:
    """Sends requests in turn, evenly spaced, each over a connection that is free.

    Args:
        port: Of a server on the loopback address.
        requests: Whole HTTP requests.
        begins: How the body of every answer must begin.
        rate: Requests per second.
        seconds: For how long.

    Returns:
        Milliseconds from when each request was due to when its answer was there.

    Raises:
        RuntimeError: An answer is not 200 or begins otherwise, or none came.
    """
    # A collection of this process's garbage would be counted as the server's time.
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_run(port, requests, begins, rate, seconds))
    finally:
        gc.enable()


async def _run(
    port: int, requests: Sequence[bytes], begins: bytes, rate: float, seconds: float
) -> list[float]:
    free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
    for _ in range(_CONNECTIONS):
        free.append(await asyncio.open_connection("127.0.0.1", port))
        # Workers share a listening socket: connections in a burst all go to one of them.
        await asyncio.sleep(0.01)

    async def send(request: bytes, due: float) -> float:
        reader, writer = (
            free.popleft() if free else await asyncio.open_connection("127.0.0.1", port)
        )
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        elapsed = (time.perf_counter() - due) * 1000
        if not (head.startswith(b"HTTP/1.1 200") and body.startswith(begins)):
            raise RuntimeError(f"port {port}: another answer than expected: {body[:500]!r}")
        free.append((reader, writer))
        return elapsed

    started = time.perf_counter() + 0.05
    tasks = []
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter() - _TIMER_S))
        while time.perf_counter() < due:  # noqa: ASYNC110 - an event would need a timer, too
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(send(requests[number % len(requests)], due)))
    async with asyncio.timeout(_PATIENCE_S):
        times = await asyncio.gather(*tasks)
    for _, writer in free:
        writer.close()
    return list(times)
