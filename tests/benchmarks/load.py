"""A load generator: keep-alive connections that send prepared requests over and over.

It does as little as it can, so that what is measured is the server: raw bytes out, and of an
answer only the status line, the length and how the body begins.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPREAD_S = 0.01
_LENGTH = b"\r\ncontent-length: "


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the generator saw."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def post(path: str, body: bytes) -> bytes:
    """Returns the bytes of a POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run(
    port: int, requests: Sequence[bytes], *, begins: bytes, connections: int, seconds: float
) -> Load:
    """Sends requests over all connections, in turn, until the time is up.

    Args:
        port: Of a server on the loopback address.
        requests: Each connection begins at another one and goes round.
        begins: How the body of every answer must begin.
        connections: Requests under way at a time: one a connection.
        seconds: For how long.

    Raises:
        RuntimeError: An answer is not 200 or begins otherwise, or a connection ended.
    """
    return uvloop.run(_run(port, requests, begins, connections, seconds))


async def _run(
    port: int, requests: Sequence[bytes], begins: bytes, connections: int, seconds: float
) -> Load:
    loop = asyncio.get_running_loop()
    senders: list[_Sender] = []
    for number in range(connections):
        start = number * len(requests) // connections
        make = partial(_Sender, [*requests[start:], *requests[:start]], begins)
        _, sender = await loop.create_connection(make, "127.0.0.1", port)
        senders.append(sender)
        # Workers share a listening socket: connections that come in a burst all go to one of them.
        await asyncio.sleep(_SPREAD_S)
    started = time.perf_counter()
    for sender in senders:
        sender.send()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    answers = sum(sender.answers for sender in senders)
    for sender in senders:
        sender.close()
    failed = next((sender.failure for sender in senders if sender.failure), None)
    if failed:
        raise RuntimeError(f"port {port}: {failed}")
    return Load(answers, elapsed)


class _Sender(asyncio.Protocol):
    """One connection: the next request goes out when an answer is complete."""

    def __init__(self, requests: Sequence[bytes], begins: bytes) -> None:
        self._requests = requests
        self._begins = begins
        self._buffer = b""
        self._closing = False
        self.answers = 0
        self.failure: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        self._transport.write(self._requests[self.answers % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        start = end + 4
        length_at = buffer.find(_LENGTH, 0, end)
        if length_at < 0:
            self.failure = f"an answer without content-length: {buffer[:end]!r}"
            return
        length_at += len(_LENGTH)
        length_end = buffer.find(b"\r\n", length_at)
        if len(buffer) < start + int(buffer[length_at:length_end]):
            return
        if not (buffer.startswith(b"HTTP/1.1 200") and buffer.startswith(self._begins, start)):
            self.failure = f"another answer than expected: {buffer[:500]!r}"
            return
        self._buffer = b""
        self.answers += 1
        if not self._closing:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self.failure = self.failure or "the server closed a connection"

    def close(self) -> None:
        self._closing = True
        self._transport.close()
