"""What a server does with one request after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.services.client import documents
from tests.services.client.server import Cut, Handler, Reply, Request

Connect = Callable[..., Any]


def script(*steps: Handler) -> Handler:
    """Answers the first request with the first step, and so on; the last step stays."""
    left = list(steps)

    async def handler(request: Request, reply: Reply) -> None:
        step = left.pop(0) if len(left) > 1 else left[0]
        await step(request, reply)

    return handler


async def good(_: Request, reply: Reply) -> None:
    await reply.json(documents.profile())


async def cut(_: Request, reply: Reply) -> None:
    await reply.start(200, "application/json", content_length="1000")
    await reply.send(b'{"status"')
    raise Cut


def refuse(status: int, code: str = "overloaded", **headers: str) -> Handler:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.problem(status, code, **headers)

    return handler
