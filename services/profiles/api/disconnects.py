"""How an endpoint learns that its caller is gone: the server says so where a body would come next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request


def gone(request: Request) -> Callable[[], Awaitable[None]]:
    """Returns what waits until the caller of a request, whose body has been read, is gone."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
