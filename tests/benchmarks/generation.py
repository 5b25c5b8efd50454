"""Generation: profiles per second through the service over the same prompts sent to vLLM.

What the service sends to its model server for a user is recorded once, and these very bytes go
straight to vLLM in the rounds of the other side. Users come in pairs of sets that neither side has
seen; a block of four rounds gives each set to both, in the order service, vLLM, vLLM, service. So
both have the same prompts, and each finds them in vLLM's prefix cache as often as the other.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import httpx

from tests.benchmarks.cpu import CpuWatch
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.prompts import record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.benchmarks.stack import Stack, User

    Ask = Callable[[User], Awaitable[bool]]

_CONCURRENT = 16
_SET = 48
_BLOCKS = 4
_TIMEOUT_S = 300.0


def measure(stack: Stack) -> list[Figure]:
    users = stack.users[: 2 * _SET * _BLOCKS]
    prompts = record(stack, users)
    asked, through, straight = asyncio.run(_measure(stack, users, prompts))
    ratio = statistics.median(through) / statistics.median(straight)
    return [
        Figure("serving.generation_ratio", ratio, "service/vLLM", at_least(0.9), asked),
        Figure("serving.generated", statistics.median(through), "profiles/s"),
        Figure("serving.straight_to_vllm", statistics.median(straight), "answers/s"),
    ]


async def _measure(
    stack: Stack, users: Sequence[User], prompts: dict[str, bytes]
) -> tuple[dict[str, object], list[float], list[float]]:
    """Returns notes, and profiles per second of each block: the service's, then vLLM's own."""
    limits = httpx.Limits(max_connections=_CONCURRENT, max_keepalive_connections=_CONCURRENT)
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits) as http:

        async def through(user: User) -> bool:
            answer = await http.post(f"{stack.service.url}/profiles/user", json=_body(user))
            if answer.status_code == 502:
                return False  # malformed three times: the service's loss
            return bool(answer.raise_for_status().json()["status"] == "generated")

        async def straight(user: User) -> bool:
            answer = await http.post(
                f"{stack.vllm_url}/v1/chat/completions",
                content=prompts[user.id],
                headers={"Content-Type": "application/json"},
            )
            answer.raise_for_status()
            return True

        # The shared beginning of all prompts goes into the prefix cache, connections open.
        await _round(through, users[:_CONCURRENT])
        await _round(straight, users[:_CONCURRENT])
        malformed = await _malformed(http, stack.service.url)
        watch = CpuWatch()
        rates: dict[Ask, list[float]] = {through: [], straight: []}
        for block in range(_BLOCKS):
            first, second = (users[start : start + _SET] for start in _starts(block))
            done = {through: (0, 0.0), straight: (0, 0.0)}
            order = ((through, first), (straight, second), (straight, first), (through, second))
            for ask, chosen in order:
                count, seconds = await _round(ask, chosen)
                done[ask] = done[ask][0] + count, done[ask][1] + seconds
            for ask, (count, seconds) in done.items():
                rates[ask].append(count / seconds)
        malformed = await _malformed(http, stack.service.url) - malformed
    blocks = [a / b for a, b in zip(rates[through], rates[straight], strict=True)]
    notes: dict[str, object] = {
        "blocks": _BLOCKS,
        "profiles a side": 2 * _SET * _BLOCKS,
        "concurrent": _CONCURRENT,
        "lowest block": round(min(blocks), 3),
        "highest block": round(max(blocks), 3),
        "malformed answers asked again": malformed,
        "CPU of others and of a given vLLM": f"{watch.others():.0%}",
    }
    return notes, rates[through], rates[straight]


async def _round(ask: Ask, users: Sequence[User]) -> tuple[int, float]:
    """Asks for all users, so many at a time; returns how many profiles came, and the seconds."""
    left = iter(users)
    count = 0

    async def one_after_another() -> None:
        nonlocal count
        for user in left:
            came = await ask(user)  # first: `count` may change while this waits
            count += came

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONCURRENT):
            group.create_task(one_after_another())
    return count, time.perf_counter() - started


async def _malformed(http: httpx.AsyncClient, url: str) -> int:
    text = (await http.get(f"{url}/metrics")).raise_for_status().text
    lines = [line for line in text.splitlines() if line.startswith("reclm_model_malformed_total")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def _starts(block: int) -> tuple[int, int]:
    return 2 * block * _SET, (2 * block + 1) * _SET


def _body(user: User) -> dict[str, object]:
    return {"id": user.id, "history": user.history, "refresh": True}
