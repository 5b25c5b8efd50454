"""A load generator: keep-alive connections that send one prepared request over and over.

It does as little as it can, so that what is measured is the server: raw bytes out, and of the
answer only the status line and the length.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import uvloop


_SPREAD_S = 0.005


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the generator saw."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def run(port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Sends a request over all connections until the time is up.

    Raises:
        RuntimeError: An answer is not 200, or a connection ended.
    """
    return uvloop.run(_run(port, request, connections, seconds))


async def _run(port: int, request: bytes, connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    senders = []
    for _ in range(connections):
        _, sender = await loop.create_connection(lambda: _Sender(request), "127.0.0.1", port)
        senders.append(sender)
        # Workers share a socket: connections that come in a burst all go to one of them.
        await asyncio.sleep(_SPREAD_S)
    started = time.perf_counter()
    for sender in senders:
        sender.send()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    done = sum(sender.answers for sender in senders)
    for sender in senders:
        sender.close()
    failed = next((sender.failure for sender in senders if sender.failure), None)
    if failed:
        raise RuntimeError(f"the server answered {failed!r}")
    return Load(done, elapsed)


class _Sender(asyncio.Protocol):
    """One connection: the next request goes out when an answer is complete."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._closing = False
        self.answers = 0
        self.failure: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        assert self._transport is not None
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.failure = head
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        self.answers += 1
        if not self._closing:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self.failure = self.failure or b"connection lost"

    def close(self) -> None:
        self._closing = True
        assert self._transport is not None
        self._transport.close()
