"""A TCP proxy in front of real servers that can delay, drop, cut or damage the traffic."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

Mood = Literal["pass", "refuse", "hang", "hold", "cut", "garbage", "garble"]


class Proxy:
    """Forwards a loopback port to another one, or to several in turn, in its own thread.

    Moods, which apply to later traffic:
        pass: Forward, after `delay_s` for each piece from the server.
        refuse: Close new and existing connections at once.
        hang: Accept and read, and never answer.
        hold: Hold back the server's answers until the mood changes.
        cut: Forward the client's bytes, and close in the middle of the server's answer.
        garbage: Answer everything with bytes that no protocol has.
        garble: Forward with damage: bytes that no text has, and holes in what the server sends.
            Whoever reads it can tell, as with the checksums of real networks; letters are not
            changed to other letters.

    Args:
        port: Where to.
        seed: Of what is cut and garbled.
    """

    def __init__(self, port: int, *, seed: int = 0) -> None:
        self._targets = [port]
        self._random = random.Random(seed)
        self.share = 1.0
        self.mood: Mood = "pass"
        self.delay_s = 0.0
        self.connections = 0
        self.forwarded = 0
        """Bytes from clients that were forwarded to the server."""
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def set(self, mood: Mood, *, delay_s: float = 0.0, share: float = 1.0) -> None:
        """Changes the mood; `refuse` also closes the existing connections.

        Args:
            mood: See the class.
            delay_s: Before each piece from the server is forwarded.
            share: How many of the pieces are cut or garbled.
        """
        self.mood, self.delay_s, self.share = mood, delay_s, share
        flow = self._flowing.clear if mood == "hold" else self._flowing.set
        self._loop.call_soon_threadsafe(flow)
        if mood == "refuse":
            self._do(self._drop())

    def retarget(self, port: int) -> None:
        """Forwards to another server from now on, and closes the existing connections."""
        self.redirect(port)
        self._do(self._drop())

    def redirect(self, *ports: int) -> None:
        """Forwards new connections to these servers in turn, and leaves the existing ones."""
        self._targets = list(ports)

    def close(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _end(self) -> None:
        self._server.close()
        self._flowing.set()
        await self._drop()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        opened = [writer]
        self._writers.add(writer)
        try:
            if self.mood == "refuse":
                return
            target = self._targets[self.connections % len(self._targets)]
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", target)
            opened.append(upstream_writer)
            self._writers.add(upstream_writer)
            await asyncio.gather(
                self._up(reader, upstream_writer, writer), self._down(upstream_reader, writer)
            )
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side may close the connection at any time
        finally:
            for each in opened:
                with contextlib.suppress(OSError):
                    each.close()
                self._writers.discard(each)

    async def _up(
        self,
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(65536):
            if self.mood == "hang":
                continue
            if self.mood == "garbage":
                back.write(b"\x00\xffthis is no protocol\r\n\r\n")
                await back.drain()
                back.close()
                break
            if self.mood == "garble" and self._strikes():
                data = damaged(data, self._random, holes=False)
            upstream.write(data)
            await upstream.drain()
            self.forwarded += len(data)
        upstream.close()

    async def _down(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await upstream.read(65536):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._flowing.wait()
            if self.mood == "hang":
                continue
            if self.mood == "garble" and self._strikes():
                data = damaged(data, self._random, holes=True)
            if self.mood == "cut" and self._strikes():
                writer.write(data[: len(data) // 2])
                await writer.drain()
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    def _strikes(self) -> bool:
        return self._random.random() < self.share


def damaged(data: bytes, drawn: random.Random, *, holes: bool) -> bytes:
    """Returns bytes with some of them replaced by what no text has, or missing.

    Args:
        data: At least one byte.
        drawn: Decides what and where.
        holes: Whether bytes may be missing. A request with a hole in its path asks for something
            else, and nobody can tell; an answer has a length that tells.
    """
    place, length = drawn.randrange(len(data)), drawn.randint(1, 16)
    filling = b"" if holes and drawn.random() < 0.5 else b"\xff" * length
    return data[:place] + filling + data[place + length :]
