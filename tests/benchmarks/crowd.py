"""New users, each over a connection of its own, at once or at a fixed rate (an open loop).

Times count from when a request was due, with connecting and whatever the request waited for then.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.stack import User

_PATIENCE_S = 150.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a profile's status, or an HTTP status; `none` if nothing came."""

    status: str
    seconds: float
    retry_after: float | None = None


def new_users(users: Sequence[User], *, seed: int = 1) -> Iterator[dict[str, object]]:
    """Yields requests of users whom nobody has seen, each with a history that no other has."""
    draw = random.Random(seed)
    number = 0
    while True:
        history = draw.choice(users).history
        if len(history) < 5:
            continue
        number += 1
        some = draw.sample(history, draw.randint(5, len(history)))
        yield {"id": f"new {seed} {number}", "history": some}


async def ask(port: int, body: dict[str, object], due: float) -> Answer:
    """Sends one request for a user's profile; `due` is on the clock of `time.perf_counter`."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            status, retry_after, document = await _post(port, json.dumps(body).encode())
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return Answer("none", time.perf_counter() - due)
    seconds = time.perf_counter() - due
    if status == 200:
        return Answer(str(json.loads(document)["status"]), seconds)
    return Answer(str(status), seconds, retry_after)


async def _post(port: int, body: bytes) -> tuple[int, float | None, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /profiles/user HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        document = await reader.readexactly(length)
    finally:
        writer.close()
    after = head.split(b"retry-after: ", 1)[1:]
    retry_after = float(after[0].split(b"\r\n", 1)[0]) if after else None
    return int(head[9:12]), retry_after, document


async def at_once(port: int, bodies: Sequence[dict[str, object]]) -> list[Answer]:
    """Sends all requests in the same moment."""
    due = time.perf_counter()
    return list(await asyncio.gather(*(ask(port, body, due) for body in bodies)))


async def at_rate(
    port: int, bodies: Iterator[dict[str, object]], *, rate: float, seconds: float
) -> list[Answer]:
    """Sends requests evenly spaced, whether or not the ones before are answered."""
    started = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(port, next(bodies), due)))
    return list(await asyncio.gather(*tasks))


async def one_by_one(
    port: int, bodies: Iterator[dict[str, object]], *, count: int, together: int
) -> float:
    """Sends so many requests, some at a time; returns the seconds that all of them took."""
    left = iter([next(bodies) for _ in range(count)])

    async def next_one() -> None:
        for body in left:
            answer = await ask(port, body, 0.0)
            if answer.status not in {"generated", "502"}:
                raise RuntimeError(f"the model is not well: {answer.status}")

    started = time.perf_counter()
    await asyncio.gather(*(next_one() for _ in range(together)))
    return time.perf_counter() - started


async def told_to_come_back(
    port: int, bodies: Sequence[dict[str, object]]
) -> tuple[list[Answer], list[Answer]]:
    """Sends all at once; those that get a 429 come back when they were told to.

    Returns:
        The first answers, and what those who came back got.
    """
    due = time.perf_counter()

    async def patient(body: dict[str, object]) -> tuple[Answer, Answer | None]:
        first = await ask(port, body, due)
        if first.retry_after is None:
            return first, None
        await asyncio.sleep(first.retry_after)
        return first, await ask(port, body, time.perf_counter())

    found = await asyncio.gather(*(patient(body) for body in bodies))
    return [first for first, _ in found], [second for _, second in found if second is not None]
