"""The yardstick for a cache hit: an ASGI app that does one Redis GET and returns its bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from redis.asyncio import Redis

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_redis = Redis.from_url(os.environ["BENCH_REDIS_URL"])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request to /KEY with the value of KEY. The body is read and ignored."""
    while (await receive()).get("more_body"):
        pass
    body = cast("bytes", await _redis.get(scope["path"][1:]))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
